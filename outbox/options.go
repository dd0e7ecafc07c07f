package outbox

import (
	"log/slog"
	"os"
	"time"
)

// Options are the settings of Open. Nil means all defaults; Open copies what it is given.
type Options struct {
	// MaxBytes is the quota for what the files take on the disk; files of damaged ones that were set aside are not counted. Before it is
	// exceeded the oldest bulk messages are dropped, then normal, then alarm ones, never what is in flight, and a Gap takes
	// their place. Default: 256 MiB; less than 1 MiB counts as 1 MiB.
	MaxBytes int64
	// MaxLoss is how long a message may be neither accepted by the hub nor fsynced, counted from its Age. Default: 0, every put is fsynced
	// before it returns and before it is handed out.
	MaxLoss time.Duration
	// MinFree is how much of the file system stays free: below it the outbox does not grow, what is new displaces what is old as at the
	// quota. Default: 64 MiB or a twentieth of the file system, whichever is less; negative is none.
	MinFree int64
	// Thin, when set, makes room from four fifths of the quota on, before anything is dropped. Default: nothing is thinned.
	Thin Thinner
	// LiveFirst hands out normal and bulk messages that were put after the last Mark before those of both lanes that were put earlier; in
	// both the order is that of the puts. Alarms go first in either, oldest first. Before the first Mark, and by default: oldest first.
	LiveFirst bool
	// ReadOnly opens the outbox for looking only: nothing is written, no lock keeps readers out, and what would change something returns
	// ErrReadOnly.
	ReadOnly bool
	// MaxMessage is the largest body in bytes. Default: 256 KiB, the largest message that IoT Hub takes.
	MaxMessage int
	// MaxRAM bounds what waits in memory, for the hub, for a commit or for a disk that does not work; from a quarter of it on it is
	// written early. Default: 16 MiB.
	MaxRAM int64
	// MaxDead and MaxDeadBytes bound the dead letters; the oldest go first, counted. Defaults: 1 000 letters, 4 MiB.
	MaxDead      int
	MaxDeadBytes int64
	// LockWait is how long Open waits for another process to let the directory go; negative is not at all. Default: 1 s.
	LockWait time.Duration
	// Now is the wall clock that put times and dead letters are stamped with. Default: time.Now.
	Now func() time.Time
	// Logger hears of damage, of a failing disk (once) and of its recovery (once). Default: nobody does.
	Logger *slog.Logger
	// OpenFile opens every file of the outbox; tests fail it on purpose. Default: os.OpenFile.
	OpenFile func(name string, flag int, perm os.FileMode) (*os.File, error)
}

// Thinner makes few messages of many. It is given a run of bodies of one lane, oldest first, of which none was ever handed out and none
// is durable, and returns what takes their place, oldest first: each Thinned stands for the next Messages bodies of the run, and
// together they stand for all. It must not keep or change the bodies given, must not block, and is called by one goroutine at a time. It may be
// given its own earlier results, when that was not enough; each time it should get its input down to a fraction.
type Thinner func(lane Lane, run [][]byte) []Thinned

// Thinned takes the place of one or more messages.
type Thinned struct {
	// Messages is how many of the run it stands for, at least 1.
	Messages int
	// Body is what is left of them; nil, with Messages 1, leaves that one message as it is.
	Body []byte
	// Readings is how many readings are inside.
	Readings int
}

const (
	ackBatch   = 1000
	ackDelay   = time.Second
	retryFloor = time.Second
	retryCap   = 4 * time.Second
)

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	setDefault(&c.MaxBytes, 256<<20)
	c.MaxBytes = max(c.MaxBytes, 1<<20)
	setDefault(&c.MaxMessage, 256<<10)
	setDefault(&c.MaxRAM, 16<<20)
	setDefault(&c.MaxDead, 1000)
	setDefault(&c.MaxDeadBytes, 4<<20)
	c.MaxDeadBytes = min(c.MaxDeadBytes, c.MaxBytes/8)
	setDefault(&c.LockWait, time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OpenFile == nil {
		c.OpenFile = os.OpenFile
	}
	return c
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// segBytes is when a segment takes no more: a sixteenth of the quota, which goes and comes by segments, at most 4 MiB.
func (o *Options) segBytes() int64 { return min(max(o.MaxBytes/16, 128<<10), 4<<20) }

// commitBytes bounds the bodies of one commit; more wait for the next one.
func (o *Options) commitBytes() int64 { return min(o.segBytes(), 2<<20) }
