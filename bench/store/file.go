package store

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const fileHeader = 8 // length and CRC-32C of a record

// fileStore is what a durable queue costs at the very least: it never gives space back.
type fileStore struct {
	log, head *os.File
	table     *crc32.Table
	buf       []byte
	read      *bufio.Reader
	at        int64 // of the first record not taken
	end       int64
}

func openFile(dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &fileStore{table: crc32.MakeTable(crc32.Castagnoli)}
	if err := s.open(dir); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.read = bufio.NewReaderSize(nil, 256<<10)
	return s, nil
}

func (s *fileStore) open(dir string) (err error) {
	if s.log, err = os.OpenFile(filepath.Join(dir, "log"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if s.head, err = os.OpenFile(filepath.Join(dir, "head"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if s.end, err = s.log.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	var head [8]byte
	if _, err = s.head.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	s.at = int64(binary.LittleEndian.Uint64(head[:]))
	return nil
}

func (s *fileStore) Put(_ context.Context, bodies [][]byte) error {
	s.buf = s.buf[:0]
	for _, b := range bodies {
		s.buf = binary.LittleEndian.AppendUint32(s.buf, uint32(len(b)))
		s.buf = binary.LittleEndian.AppendUint32(s.buf, crc32.Checksum(b, s.table))
		s.buf = append(s.buf, b...)
	}
	if _, err := s.log.WriteAt(s.buf, s.end); err != nil {
		return err
	}
	s.end += int64(len(s.buf))
	return unix.Fdatasync(int(s.log.Fd()))
}

func (s *fileStore) Concurrent() bool { return false }

func (s *fileStore) Peek(context.Context) (int, error) {
	if s.at == s.end {
		return 0, nil
	}
	var h [fileHeader]byte
	if _, err := s.log.ReadAt(h[:], s.at); err != nil {
		return 0, err
	}
	return int(binary.LittleEndian.Uint32(h[:])), nil
}

func (s *fileStore) Take(_ context.Context, n int) (int, error) {
	taken := 0
	s.read.Reset(io.NewSectionReader(s.log, s.at, s.end-s.at))
	for taken < n && s.at < s.end {
		size, err := s.record()
		if err != nil {
			return taken, fmt.Errorf("%s at %d: %w", s.log.Name(), s.at, err)
		}
		s.at += size
		taken++
	}
	if _, err := s.head.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(s.at)), 0); err != nil {
		return taken, err
	}
	return taken, unix.Fdatasync(int(s.head.Fd()))
}

func (s *fileStore) record() (int64, error) {
	var h [fileHeader]byte
	if _, err := io.ReadFull(s.read, h[:]); err != nil {
		return 0, err
	}
	body := make([]byte, binary.LittleEndian.Uint32(h[:]))
	if _, err := io.ReadFull(s.read, body); err != nil {
		return 0, err
	}
	if crc32.Checksum(body, s.table) != binary.LittleEndian.Uint32(h[4:]) {
		return 0, errors.New("wrong checksum")
	}
	return int64(fileHeader + len(body)), nil
}

func (s *fileStore) Close() error {
	var errs []error
	for _, f := range []*os.File{s.log, s.head} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
