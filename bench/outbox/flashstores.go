package main

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"iotagent/bench/payload"
	"iotagent/bench/store"
	"iotagent/outbox"
)

// The stores of an outage.
const (
	outboxFlash = "outbox"
	logPacked   = "log, zstd"
	logRaw      = "log, raw"
)

func openFlash(dir string, s scenario, now func() time.Time) (flashStore, error) {
	switch s.store {
	case outboxFlash:
		// In compressed time no message grows as old as max_loss, so that only Commit writes.
		q, err := outbox.Open(filepath.Join(dir, "outbox"), &outbox.Options{MaxLoss: s.interval, Now: now})
		if err != nil {
			return nil, err
		}
		return &flashOutbox{q}, nil
	case logPacked:
		return openFlashLog(dir, s.payload, true)
	}
	return openFlashLog(dir, s.payload, false)
}

type flashOutbox struct{ q *outbox.Outbox }

// Ready has a message accepted in each lane, so that the outbox has noted that it works.
func (f *flashOutbox) Ready(ctx context.Context) error {
	for lane := range outbox.Bulk + 1 {
		if err := f.Put(ctx, lane, []byte("x")); err != nil {
			return err
		}
	}
	es, err := f.q.Next(3, 1<<20)
	if err != nil {
		return err
	}
	for _, e := range es {
		err = errors.Join(err, f.q.Ack(e.ID))
	}
	return err
}

func (f *flashOutbox) Put(ctx context.Context, lane outbox.Lane, body []byte) error {
	_, err := f.q.Put(ctx, outbox.Message{Lane: lane, Readings: 1, Body: body})
	return err
}

func (f *flashOutbox) Commit(ctx context.Context) error { return f.q.Sync(ctx) }

func (f *flashOutbox) Take(ctx context.Context, n int) (int, error) {
	return store.Drain(ctx, f.q, n)
}

func (f *flashOutbox) Counted() (commits, bytes uint64) {
	st := f.q.Stats()
	return st.Commits, st.WrittenBytes
}

func (f *flashOutbox) Close() error { return f.q.Close() }

// flashLog is the least that any store could write: a file of zeros, already allocated, into which each commit puts one block,
// and a file for the position. It cannot give space back, knows no lanes and finds no message.
type flashLog struct {
	log, head   *os.File
	pack        *zstd.Encoder // nil: as it is
	block, out  []byte
	end         int64
	put, taken  int
	commits     uint64
	checksummed *crc32.Table
}

const (
	logBytes        = 32 << 20
	dictionaryBytes = 8 << 10
	blockHeader     = 16
)

func openFlashLog(dir string, kind payload.Kind, packed bool) (flashStore, error) {
	f := &flashLog{checksummed: crc32.MakeTable(crc32.Castagnoli)}
	if err := f.open(dir, kind, packed); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Ready implements flashStore: the zeros are there.
func (f *flashLog) Ready(context.Context) error { return nil }

func (f *flashLog) open(dir string, kind payload.Kind, packed bool) (err error) {
	if packed {
		var dictionary []byte
		for _, b := range payload.Pool(kind, 100) {
			dictionary = append(dictionary, b...)
		}
		f.pack, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderDictRaw(1, dictionary[:dictionaryBytes]), zstd.WithEncoderCRC(false))
		if err != nil {
			return err
		}
	}
	if f.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return err
	}
	if f.head, err = os.Create(filepath.Join(dir, "head")); err != nil {
		return err
	}
	for _, file := range []struct {
		*os.File
		size int
	}{{f.log, logBytes}, {f.head, 4096}} {
		if _, err := file.Write(make([]byte, file.size)); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func (f *flashLog) Put(_ context.Context, _ outbox.Lane, body []byte) error {
	f.block = append(binary.AppendUvarint(f.block, uint64(len(body))), body...)
	f.put++
	return nil
}

func (f *flashLog) Commit(context.Context) error {
	f.out = append(f.out[:0], make([]byte, blockHeader)...)
	if f.pack != nil {
		f.out = f.pack.EncodeAll(f.block, f.out)
	} else {
		f.out = append(f.out, f.block...)
	}
	binary.LittleEndian.PutUint32(f.out, uint32(len(f.out)))
	binary.LittleEndian.PutUint32(f.out[4:], crc32.Checksum(f.out[blockHeader:], f.checksummed))
	f.block = f.block[:0]
	if f.end+int64(len(f.out)) > logBytes {
		return errors.New("log: full")
	}
	if _, err := f.log.WriteAt(f.out, f.end); err != nil {
		return err
	}
	f.end += int64(len(f.out))
	f.commits++
	return unix.Fdatasync(int(f.log.Fd()))
}

func (f *flashLog) Take(_ context.Context, n int) (int, error) {
	n = min(n, f.put-f.taken)
	f.taken += n
	if _, err := f.head.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(f.taken)), 0); err != nil {
		return 0, err
	}
	return n, unix.Fdatasync(int(f.head.Fd()))
}

func (f *flashLog) Counted() (commits, bytes uint64) { return f.commits, uint64(f.end) }

func (f *flashLog) Close() error {
	var errs []error
	for _, file := range []*os.File{f.log, f.head} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(errs...)
}
