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

	"golang.org/x/sys/unix"

	"iotagent/internal/backoff"
	"iotagent/outbox/internal/boltfile"
	"iotagent/outbox/internal/segment"
)

// Outbox is the queue on disk. Open makes one; all methods may be called concurrently.
type Outbox struct {
	dir         string
	opt         Options
	segOpt      segment.Options
	segBytes    int64 // a segment is full at this size
	commitBytes int64 // what one commit takes, at most
	epoch       uint64
	lock        *os.File
	kick        chan struct{} // wakes the writer; holds one
	ended       chan struct{} // closed when the writer has ended

	mu      sync.Mutex // guards all below
	loaded  bool       // the files were read
	run     uint32     // of this opening; 0 until loaded
	control *control   // nil while it cannot be opened
	// distrusted: control.db may show what is not on the disk, and is to be written anew.
	distrusted bool
	segs       []*seg // by order
	order      uint64 // the newest segment's
	tick       uint64
	epochs     map[uint32]uint64 // of each run that the segments know
	runs       map[uint64]uint32
	lane       [lanes]lane
	garbage    []string // files to unlink after the next commit

	gapFlight map[ID]*gapEntry
	flights   int // slots that are handed out

	stagedBytes int64
	urgent      int       // staged messages that must be written at once
	due         time.Time // no staged message is due before
	alarmAt     time.Time // when the writer looks next
	writing     bool      // a batch of staged messages is being written
	commitTime  time.Duration

	acks        int // settled on disk, and not in control.db
	firstAck    time.Time
	rejects     []*rejection
	deadNext    uint64
	unearth     []uint64 // letters to throw away
	trimmed     uint64   // letters that the commit under way throws away for want of room
	deadDropped uint64

	marker  [lanes]bool // where messages may be in memory only
	marked  [lanes]bool // of these, what control.db says
	marking []*group    // puts that wait until it does
	// markerDue, touchDue, gapsChanged and segsChanged say what control.db does not know yet; markerOld that it holds a marker.
	markerDue, markerOld, touchDue, gapsChanged, segsChanged bool
	clean                                                    bool // everything is written, and the end is to be noted

	jobs        []job
	syncs       []chan error
	closing     bool
	closed      bool
	closeErr    error
	sick        bool  // a segment cannot be read
	controlSick error // control.db cannot be read

	changed chan struct{}
	room    chan struct{} // nil while nobody waits

	degraded string
	retry    backoff.Backoff
	retryAt  time.Time
	limitAt  time.Time
	lack     int64
	ceiling  int64
	stats    Stats
	mended   []FileReport // by Open, for Repair to tell
}

var (
	_ Queue = (*Outbox)(nil)
	_ Admin = (*Outbox)(nil)
)

// Open opens the outbox in dir, which is made (mode 0700) if need be, and holds it against other processes until Close. Only a directory
// in use (ErrLocked), one that cannot be made or locked, and files of a newer version are errors. A damaged file is set aside and what
// can be read of it is kept; a disk that does not work is retried while messages wait in memory.
func Open(dir string, options *Options) (*Outbox, error) {
	opt := options.withDefaults()
	lock, err := openDir(dir, &opt)
	if err != nil {
		return nil, err
	}
	o := &Outbox{
		dir: dir, opt: opt, lock: lock, epoch: newEpoch(), kick: make(chan struct{}, 1), ended: make(chan struct{}),
		epochs: map[uint32]uint64{}, runs: map[uint64]uint32{}, gapFlight: map[ID]*gapEntry{}, changed: make(chan struct{}),
		retry: backoff.Backoff{Floor: retryFloor, Cap: retryCap},
	}
	o.segBytes, o.commitBytes = opt.segBytes(), opt.commitBytes()
	o.segOpt = segment.Options{Codec: segment.NewCodec(), OpenFile: opt.OpenFile}
	o.mu.Lock()
	defer o.mu.Unlock()
	err = o.loadLocked()
	switch {
	case err == nil:
	case opt.ReadOnly, errors.Is(err, ErrLocked), errors.Is(err, boltfile.ErrLocked), errors.Is(err, boltfile.ErrNewer):
		if errors.Is(err, boltfile.ErrLocked) {
			err = fmt.Errorf("%w: %w", ErrLocked, err)
		}
		return nil, errors.Join(fmt.Errorf("outbox %s: %w", dir, err), closeLock(lock))
	default:
		o.degradeLocked(err)
	}
	o.stats.SetAside = setAside(dir)
	if opt.ReadOnly {
		close(o.ended)
		return o, nil
	}
	go o.write()
	return o, nil
}

// closeLock lets the directory go at once: a child that is being forked may hold the descriptor for a moment longer.
func closeLock(lock *os.File) error {
	if lock == nil {
		return nil
	}
	return errors.Join(unix.Flock(int(lock.Fd()), unix.LOCK_UN), lock.Close())
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

func (o *Outbox) controlPath() string { return filepath.Join(o.dir, controlName) }

// loadLocked reads the files and takes them over. Until it succeeds everything is in memory.
func (o *Outbox) loadLocked() error {
	l := &loader{dir: o.dir, opt: &o.opt, seg: &o.segOpt}
	var d *disk
	err := o.io(func() (err error) {
		d, err = l.load()
		if errors.Is(err, unix.EROFS) && !o.opt.ReadOnly {
			d = l.look() // the backlog can be sent all the same
		}
		return err
	})
	if d != nil {
		o.adoptLocked(d)
	}
	return err
}

func (o *Outbox) adoptLocked(d *disk) {
	o.loaded, o.control, o.segs = true, d.control, d.segs
	o.mended, o.controlSick = append(o.mended, d.mended...), d.sick
	o.deadDropped, o.order = d.st.deadDropped, d.st.order
	for _, s := range o.segs {
		o.order = max(o.order, s.order)
		for _, r := range s.runs {
			o.run = max(o.run, runOf(r.Last))
			o.epochs[runOf(r.First)], o.runs[r.Epoch] = r.Epoch, runOf(r.First)
		}
	}
	for i := range d.st.lane {
		o.run = max(o.run, runOf(d.st.lane[i].head))
		for _, x := range d.st.lane[i].done {
			o.run = max(o.run, runOf(x.to))
		}
	}
	for _, g := range d.gaps {
		o.run = max(o.run, runOf(g.place))
		o.lane[g.id.Lane].gaps = append(o.lane[g.id.Lane].gaps, g)
	}
	if d.control != nil {
		for _, x := range d.control.letters {
			o.deadNext = max(o.deadNext, x.number)
		}
	}
	o.run++
	o.epochs[o.run], o.runs[o.epoch] = o.epoch, o.run
	for i := range o.lane {
		o.adoptLaneLocked(Lane(i), &d.st.lane[i])
	}
	if d.recount {
		o.recountLocked()
		o.segsChanged = true
	}
	if o.opt.ReadOnly {
		return
	}
	for _, x := range d.losses {
		o.lossLocked(x.place, x.gap)
	}
	o.uncleanLocked(&d.st)
	if o.garbage = d.stray; len(d.stray) > 0 {
		o.segsChanged = true
	}
}

// adoptLaneLocked takes over a lane. What was put before the files could be read moves behind what is in them; ids stay.
func (o *Outbox) adoptLaneLocked(lane Lane, st *laneState) {
	l := &o.lane[lane]
	staged := tally{}
	for _, m := range l.staged.all() {
		m.place = placeOf(o.run, seqOf(m.place))
		if !m.gone {
			staged.add(tally{1, uint64(len(m.body)), uint64(m.readings)})
		}
	}
	for i := range l.win.len() {
		w := l.win.at(i)
		w.place = placeOf(o.run, seqOf(w.place))
	}
	for _, g := range l.gaps {
		if runOf(g.place) == 0 && g.id.Epoch == o.epoch {
			g.place = placeOf(o.run, seqOf(g.place))
		}
	}
	if l.mark > 0 { // what is new stays it
		l.mark = placeOf(o.run, seqOf(l.mark))
		l.live = cursor{next: max(l.mark, placeOf(o.run, seqOf(l.fresh().next)))}
	}
	l.next, l.done = st.head, st.done
	for _, s := range o.segs {
		l.appended.add(s.lane[lane].tally)
		l.flushed = max(l.flushed, s.lane[lane].last)
	}
	l.queued = l.appended
	l.queued.sub(st.removed)
	l.queued.add(staged)
}

// uncleanLocked declares what the last process may have had in memory when it died.
func (o *Outbox) uncleanLocked(st *state) {
	if st.epoch == 0 {
		return
	}
	run := o.runs[st.epoch]
	for i, used := range st.lanes {
		if !used {
			continue
		}
		l := &o.lane[i]
		from := uint64(1)
		if run != 0 && runOf(l.flushed) == run {
			from = seqOf(l.flushed) + 1
		}
		if head := st.lane[i].head; run != 0 && runOf(head) == run {
			from = max(from, seqOf(head))
		}
		if x, ok := st.lane[i].done.find(placeOf(run, from)); ok {
			from = seqOf(x.to) + 1
		}
		g := Gap{Epoch: st.epoch, Lane: Lane(i), From: from, AtMost: true, Within: st.maxLoss, Reason: reasonUnclean}
		o.lossLocked(max(l.flushed, l.next-min(l.next, 1)), g)
	}
	o.opt.Logger.Warn("the last stop was not a clean one: what was in memory is lost, and the hub is told so",
		"epoch", fmt.Sprintf("%016x", st.epoch), "max_loss", st.maxLoss.String())
}

// Sync returns once everything put and acked so far is fsynced. An error wraps ErrNotDurable with the reason, ErrClosed or the
// cause of ctx.
func (o *Outbox) Sync(ctx context.Context) error {
	o.mu.Lock()
	if o.closed || o.closing {
		o.mu.Unlock()
		return ErrClosed
	}
	if o.opt.ReadOnly {
		o.mu.Unlock()
		return nil
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

// Close writes what is not written, notes that the stop was a clean one and lets the directory go. It returns an error if messages that
// existed only in memory are lost by it. A second Close returns the same.
func (o *Outbox) Close() error {
	o.mu.Lock()
	if o.opt.ReadOnly && !o.closed {
		o.finishLocked(nil)
	}
	o.closing = true
	o.mu.Unlock()
	o.wake()
	<-o.ended
	return o.closeErr
}

func (o *Outbox) wake() {
	select {
	case o.kick <- struct{}{}:
	default: // it is awake already
	}
}
