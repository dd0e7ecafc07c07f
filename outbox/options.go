package outbox

import (
	"log/slog"
	"os"
	"strconv"
	"time"
)

// Options are the settings of Open. Nil means all defaults; Open copies what it is given.
type Options struct {
	// MaxBytes is the quota: the body bytes of everything queued plus 64 bytes for each entry. When a put would exceed it, the
	// oldest bulk messages are dropped, then normal, then alarm ones, never what is in flight, and each run of them becomes a
	// Gap. The file itself may be larger by the pages that bbolt holds in reserve; it never grows over twice the quota
	// and 64 MiB. Default: 256 MiB; less than 1 MiB counts as 1 MiB.
	MaxBytes int64
	// MaxLoss is how long a reading may stay unwritten. At present every put is fsynced before it returns, which
	// is within any bound. Default: 0.
	MaxLoss time.Duration
	// MaxMessage is the largest body in bytes. Default: 256 KiB, the largest message that IoT Hub takes.
	MaxMessage int
	// MaxRAM bounds the bodies that wait in memory, for a commit or for a disk that does not work. Default: 16 MiB.
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

const (
	pageSize    = 4096
	mapSize     = 16 << 20 // no remap, and one growth of the file, up to here
	commitBytes = 4 << 20  // bodies in one transaction; more wait for the next one
	ackBatch    = 1000
	ackDelay    = time.Second
	retryFloor  = time.Second
	retryCap    = time.Minute
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

// maxFile is the size at which bbolt refuses to grow. On 32-bit machines a file over 1 GiB cannot be mapped in one piece, and
// bbolt overflows an int near 2 GiB.
func (o *Options) maxFile() int {
	n := 2*o.MaxBytes + o.MaxDeadBytes + 64<<20
	if strconv.IntSize == 32 {
		n = min(n, 1<<30)
	}
	return int(n)
}
