package outbox

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"iotagent/internal/backoff"
)

// Outbox is the queue on disk. Open makes one; all methods may be called concurrently.
type Outbox struct {
	dir   string
	opt   Options
	epoch uint64
	lock  *os.File
	kick  chan struct{} // wakes the writer; holds one
	done  chan struct{} // closed when the writer has ended

	mu   sync.Mutex // guards all below
	file *file      // nil while the disk cannot even be read
	// loaded: the positions of the file are known. st mirrors its state record.
	loaded bool
	st     state
	lane   [lanes]lane
	// items are the entries beside the cursor: handed out, given back, or about to be deleted. flight finds the first by id.
	items  map[key]*item
	flight map[ID]*item

	groups      []*group // not written yet, in the order of the puts
	stagedBytes int64
	acked       []key
	firstAck    time.Time
	rejects     []*rejection
	syncs       []chan error
	closing     bool
	closed      bool
	closeErr    error
	fate        error // damage that was met: the writer repairs the file

	changed chan struct{}
	room    chan struct{}

	degraded string
	retry    backoff.Backoff
	retryAt  time.Time
	stats    Stats
}

var _ Queue = (*Outbox)(nil)

// lane is one lane's place in the queue. Positions up to onDisk are in the file, later ones staged in memory.
type lane struct {
	base     uint64 // the position before this epoch's first: position = base + seq
	tail     uint64 // the last position given out
	next     uint64 // the cursor over the file: everything before was handed out, or is an item
	onDisk   uint64
	ramNext  uint64 // the cursor over staged
	released []uint64
	staged   []*staged
	spare    []uint64 // positions of gaps whose commit failed, for the next gap
	gap      *openGap // the last gap of the lane, while it may grow
	dropFrom uint64   // nothing before can be dropped
}

type itemState uint8

const (
	inFlight itemState = iota
	released
	leaving // acked, rejected or being dropped: gone with the next commit
)

type item struct {
	key    key
	id     ID
	state  itemState
	sent   bool
	staged *staged // nil when it is on disk
}

// Open opens the outbox in dir, which is made (mode 0700) if need be, and holds it against other processes until Close. Only a directory
// in use (ErrLocked), one that cannot be made or locked, and a file of a newer version are errors. A damaged file is renamed and what
// can be read of it is kept; a disk that does not work is retried while messages wait in memory.
func Open(dir string, o *Options) (*Outbox, error) {
	opt := o.withDefaults()
	lock, err := openDir(dir, opt.LockWait)
	if err != nil {
		return nil, err
	}
	x := &Outbox{
		dir: dir, opt: opt, lock: lock, epoch: newEpoch(),
		kick: make(chan struct{}, 1), done: make(chan struct{}),
		items: make(map[key]*item), flight: make(map[ID]*item),
		changed: make(chan struct{}), room: make(chan struct{}),
		retry: backoff.Backoff{Floor: retryFloor, Cap: retryCap},
	}
	for i := range x.lane {
		x.lane[i].next = 1
	}
	x.mu.Lock()
	err = x.reopenLocked()
	if errors.Is(err, ErrLocked) || errors.Is(err, errNewer) {
		x.mu.Unlock()
		return nil, errors.Join(fmt.Errorf("outbox %w", err), lock.Close())
	}
	if err != nil {
		x.degradeLocked(err)
	}
	x.stats.SetAside = setAside(dir)
	x.mu.Unlock()
	go x.run()
	return x, nil
}

// newEpoch draws a number that was never used and is not 0, which stands for unknown.
func newEpoch() uint64 {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never returns an error
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}

func (o *Outbox) path() string { return filepath.Join(o.dir, fileName) }

// reopenLocked opens the file, repairs it if it is damaged, and takes over its state. Without write access it opens it for reading.
func (o *Outbox) reopenLocked() error {
	if err := o.finishRepair(); err != nil {
		return err
	}
	f, err := openFile(o.path(), &o.opt, false)
	if isDamage(err) {
		err = o.repairLocked(err)
		if err == nil {
			f, err = openFile(o.path(), &o.opt, false)
		}
	}
	if err != nil && !errors.Is(err, ErrLocked) && !errors.Is(err, errNewer) {
		// Read-only: the backlog can still be sent.
		if ro, roErr := openFile(o.path(), &o.opt, true); roErr == nil {
			f = ro
		}
	}
	if f == nil {
		return err
	}
	st, stErr := f.state()
	if stErr != nil {
		return errors.Join(err, stErr, f.close())
	}
	o.file = f
	o.adoptLocked(st)
	o.stats.DiskBytes = f.diskBytes()
	return err
}

// adoptLocked takes over the counts of the file that was opened. The first time, positions given out before it could be
// read move behind those in the file; ids stay.
func (o *Outbox) adoptLocked(st state) {
	o.st = st
	if o.loaded {
		return
	}
	o.loaded = true
	o.items = make(map[key]*item, len(o.items))
	for i := range o.lane {
		l, shift := &o.lane[i], st.lane[i].tail
		l.base += shift
		l.tail += shift
		l.onDisk = shift
		l.ramNext += shift
		l.next = min(st.lane[i].head, shift+1)
		for j := range l.released {
			l.released[j] += shift
		}
		for _, s := range l.staged {
			s.rec.key.pos += shift
			if s.it != nil && !s.gone {
				s.it.key = s.rec.key
				o.items[s.it.key] = s.it
			}
		}
	}
}

// Sync returns once everything put and acked so far is fsynced. An error wraps ErrNotDurable with the reason, ErrClosed or the
// cause of ctx.
func (o *Outbox) Sync(ctx context.Context) error {
	o.mu.Lock()
	if o.closed || o.closing {
		o.mu.Unlock()
		return ErrClosed
	}
	c := make(chan error, 1)
	o.syncs = append(o.syncs, c)
	o.mu.Unlock()
	o.wake()
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close writes what is not written, closes the file and lets the directory go. It returns an error if messages that existed only in memory
// are lost by it. A second Close returns the same.
func (o *Outbox) Close() error {
	o.mu.Lock()
	o.closing = true
	o.mu.Unlock()
	o.wake()
	<-o.done
	return o.closeErr
}

func (o *Outbox) wake() {
	select {
	case o.kick <- struct{}{}:
	default: // it is awake already
	}
}
