package outbox

import (
	"context"
	"time"
)

// Admin is what `iotagent queue` does with an outbox that the daemon has open, or that was opened for the purpose. All methods may be
// called at any time beside those of Queue.
type Admin interface {
	// Scan calls fn for everything queued, what is in flight or in memory only included: alarm, normal, bulk, and within a lane in
	// order. It ends with fn's error or ctx's cause. What is put or acked meanwhile may be shown or not; nothing else is left out. The
	// outbox goes on working meanwhile, and fn may take its time.
	Scan(ctx context.Context, o ScanOptions, fn func(Item) error) error
	// DeadLetters returns up to limit letters, oldest first. Damaged ones are left out.
	DeadLetters(limit int) ([]DeadLetter, error)
	// Purge throws away what is queued in the lanes given (nil: all) and was put before a time (zero: whenever), except what is in flight,
	// and returns how much. It is declared to the hub by gaps with the reason "purged", and durable when Purge returns.
	Purge(ctx context.Context, lanes []Lane, before time.Time) (Purged, error)
	// PurgeDead throws away the dead letters and returns how many there were. Durable when it returns.
	PurgeDead(ctx context.Context) (uint64, error)
	// Check reads every page and record of every file and reports on each. It changes nothing. The error says that the check could not be
	// done; damage is no error.
	Check(ctx context.Context) (Report, error)
	// Repair does what Check does and replaces each damaged file by one with all that can be read of it. Losses become gaps with the
	// reason "damage".
	Repair(ctx context.Context) (Report, error)
}

// ScanOptions say what Scan shows; the zero value is everything, without bodies.
type ScanOptions struct {
	// Lanes are the lanes to show; nil means all.
	Lanes []Lane
	// Bodies asks for the bodies too.
	Bodies bool
}

// Item is one queued entry as Scan shows it. Body is nil unless it was asked for, and fn's to keep.
type Item struct {
	Entry
	// Size is the length of the body in bytes; 0 for a gap.
	Size int
	// Put is when it was put, by the wall clock of that time, to the millisecond.
	Put time.Time
	// Durable is as in Message.
	Durable bool
	// InFlight says that it is handed out now; OnDisk that it is fsynced.
	InFlight, OnDisk bool
}

// Purged counts what Purge threw away.
type Purged struct {
	Messages, Readings uint64
}

// Report is what Check and Repair found.
type Report struct {
	Files []FileReport
}

// Sound says that no file has a problem.
func (r *Report) Sound() bool {
	for _, f := range r.Files {
		if f.Problem != "" {
			return false
		}
	}
	return true
}

// FileReport is about one file of the outbox.
type FileReport struct {
	// Name is the file's, without its directory. Bytes is what it takes on the disk.
	Name  string
	Bytes int64
	// Messages is how many are queued in it that can be read.
	Messages uint64
	// Problem says what is wrong, "" when it is sound.
	Problem string
	// Repaired says that Repair replaced it; Lost is how many messages could not be read then, AtMost that it may be fewer.
	Repaired bool
	Lost     uint64
	AtMost   bool
}
