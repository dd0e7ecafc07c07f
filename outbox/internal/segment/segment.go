// Package segment keeps records in files that only grow: one bbolt file takes records of three lanes, compressed in blocks, and is
// removed whole when all of them are done with. A power cut leaves it as some commit left it; what a bad page costs is one block.
//
// The file has six buckets. All but q are so small that bbolt keeps them inside its root page, so that a commit which only adds to the
// open blocks writes two pages: that one, and the meta page that makes it count.
//
//	meta    what kind of file this is, and of which version
//	s       "s": the summary
//	t0…t3   "t": the open block of each lane behind its lane and first place, one after the other and cut in four
//	q       lane u8 | first place u64 | piece u16, big-endian: a piece of a finished block
//
// Small pieces, because bbolt rewrites the last page of q with each block, and puts at least two of them into a page.
package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"iotagent/outbox/internal/boltfile"
)

// Lanes is how many there are.
const Lanes = 3

// ErrFull says that what was to be appended needs another segment. Nothing of it was.
var ErrFull = errors.New("segment is full")

const (
	maxBytes = 16 << 20
	mapBytes = 8 << 20
	magic    = "iotagent segment"

	bucketSummary = "s"
	bucketBlocks  = "q"
	keySummary    = "s"
	keyTail       = "t"
)

func tailBuckets() [4]string { return [4]string{"t0", "t1", "t2", "t3"} }

// Options are shared by the segments of a process.
type Options struct {
	// Codec compresses. nil is one of the segment's own.
	Codec *Codec
	// TailBytes bounds the open blocks of all lanes together. 0, and what is more, is all that fits bbolt's root page: about 3400.
	TailBytes int
	// OpenFile opens the file. nil is os.OpenFile.
	OpenFile func(name string, flag int, perm os.FileMode) (*os.File, error)
}

// Segment is an open segment file. One goroutine may append, trim or close; any number may read beside it.
type Segment struct {
	path  string
	f     *boltfile.File
	codec *Codec
	limit int

	mu   sync.RWMutex // guards sum and tails
	sum  Summary
	tail [Lanes]tail

	appending sync.Mutex
	w         writer
	checked   bool // the structure was looked through
	blocks    int  // how large bucket q is, up to where bbolt gives it a page of its own
}

// tail is the open block of a lane as the file holds it.
type tail struct {
	h   header // h.count 0: there is none
	enc []byte
}

// Create makes a segment. The path must not exist; when Create returns, the file and its name are durable.
func Create(path string, o *Options) (*Segment, error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return nil, fmt.Errorf("segment %s: %w", path, err)
	}
	return open(path, o, false)
}

// Open opens a segment for appending and reading. Errors: those of boltfile.Open.
func Open(path string, o *Options) (*Segment, error) {
	if _, err := os.Lstat(path); err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	return open(path, o, false)
}

// OpenReadOnly opens a segment for reading, also on a read-only disk and beside other readers.
func OpenReadOnly(path string, o *Options) (*Segment, error) { return open(path, o, true) }

func open(path string, o *Options, readOnly bool) (*Segment, error) {
	if o == nil {
		o = new(Options)
	}
	s := &Segment{path: path, codec: o.Codec, limit: o.TailBytes}
	if s.codec == nil {
		s.codec = NewCodec()
	}
	var err error
	s.f, err = boltfile.Open(path, fileOptions(o, readOnly))
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("segment %s: %w", path, err), s.f.Close())
	}
	return s, nil
}

func fileOptions(o *Options, readOnly bool) *boltfile.Options {
	tails := tailBuckets()
	return &boltfile.Options{
		ReadOnly: readOnly, MaxBytes: maxBytes, MapBytes: mapBytes, OpenFile: o.OpenFile, Magic: magic, Version: formatVersion,
		Buckets: append([]string{bucketSummary, bucketBlocks}, tails[:]...),
	}
}

// load reads the summary and the open blocks.
func (s *Segment) load() error {
	return s.f.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket([]byte(bucketSummary)).Get([]byte(keySummary)); v != nil {
			sum, err := decodeSummary(v)
			if err != nil {
				return err
			}
			s.sum = *sum
		}
		var blob []byte
		for _, name := range tailBuckets() {
			blob = append(blob, tx.Bucket([]byte(name)).Get([]byte(keyTail))...)
		}
		tails, err := parseTails(blob)
		if err != nil {
			return err
		}
		s.tail = tails
		s.blocks = pageHeader
		c := tx.Bucket([]byte(bucketBlocks)).Cursor()
		for k, v := c.First(); k != nil && s.blocks <= inlineMost; k, v = c.Next() {
			s.blocks += elementLen + len(k) + len(v)
		}
		return nil
	})
}

// parseTails takes the open blocks apart and checks each. What it returns is part of b. With an error, the sound ones are there.
func parseTails(b []byte) (tails [Lanes]tail, err error) {
	for len(b) > 0 {
		if len(b) < blockKeyLen+headerLen {
			return tails, boltfile.Damaged("open blocks are cut short")
		}
		lane, first := b[0], keyFirst(b)
		h, err := parseHeader(lane, first, b[blockKeyLen:])
		if err != nil {
			return tails, err
		}
		n := uint64(blockKeyLen+headerLen) + uint64(h.payload)
		if n > uint64(len(b)) || tails[lane].h.count > 0 {
			return tails, boltfile.Damaged("open blocks are cut short")
		}
		enc := b[blockKeyLen:n:n]
		if _, err := whole(lane, first, enc); err != nil {
			return tails, err
		}
		tails[lane], b = tail{h, enc}, b[n:]
	}
	return tails, nil
}

// Summary returns what the segment holds.
func (s *Segment) Summary() Summary {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return Summary{Runs: slices.Clone(s.sum.Runs)}
}

// Used is how far into the file there is anything.
func (s *Segment) Used() int64 { return s.f.Used() }

// DiskBytes is what the file takes on the disk, with what is reserved.
func (s *Segment) DiskBytes() int64 { return s.f.DiskBytes() }

// Fresh says that opening made the file: there was none, or one that had never been finished.
func (s *Segment) Fresh() bool { return s.f.Fresh() }

// Path is where the file was opened.
func (s *Segment) Path() string { return s.path }

// Close lets the file go. Calls that are under way must have returned.
func (s *Segment) Close() error {
	if s == nil {
		return nil
	}
	return s.f.Close()
}
