// Package outbox is the durable queue between acquisition and the hub. It knows bytes, lanes and priorities; it knows nothing
// of sensors or of AMQP.
//
// # Promise
//
// A message is accepted by the hub, or fsynced in bbolt, within Options.MaxLoss of its oldest reading: Put counts Message.Age, and the
// commit starts early enough. Until then it is in memory, bounded; what is acked before costs no write. With MaxLoss 0, and for Durable
// messages always, it is fsynced before Put returns nil and before Next hands it out. Close writes everything. What is fsynced outlives
// a kill and a power cut, and Next hands it out until Ack or Reject, in every later Open too.
//
// First hand-outs within a lane keep the order of the puts; with Options.LiveFirst those of the backlog do, and those of what was put after
// the last Mark, which go first. No two messages ever have the same id, and once a message was handed out its
// bytes never change. A message may be handed out twice: after Release, and after a crash that came before its ack was committed (at most
// 1 000 acks or 1 s of them).
//
// Whatever is lost all the same, to the quota, to a damaged file, to a full memory while the disk fails or to an unclean stop, is declared
// by a Gap that Next hands out in its place. After a stop that was not a clean one, each lane in which messages may have been in memory
// only gets one with the reason "unclean-stop": at most what was put in the last MaxLoss.
//
// # A disk that does not work
//
// Full, read-only or failing, it never ends the process: messages wait in memory, bounded by Options.MaxRAM, Put says so with
// ErrNotDurable, Stats.Degraded says why, and the files are opened and tried again every few seconds. What waits in memory
// is handed out meanwhile, durable messages too: an alarm is worth more sent than kept. Where the disk cannot even be read, what is in
// memory goes first and the backlog when it can be read again. A file whose fsync failed takes no more.
//
// # Damage
//
// The structure of a file is checked before bbolt maps it, each record has a checksum, and panics and memory faults inside bbolt are
// caught. A damaged file NAME is kept as NAME.corrupt-TIME (the newest three are), what is whole in it is copied to a new one,
// and what is missing becomes gaps with the reason "damage": exact where the counts tell, otherwise "at most".
//
// # Files
//
// control.db holds what changes: how far each lane is done, gaps, dead letters and a catalog of the segments. The messages are in segments,
// files that are only appended to and removed whole. docs/outbox.md describes the formats. One goroutine, the writer, makes all changes.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Lane is a priority class. Within one lane first transmissions keep the order of the puts.
type Lane uint8

// The lanes, most urgent first.
const (
	Alarm Lane = iota
	Normal
	Bulk
	lanes = 3
)

// String returns "alarm", "normal" or "bulk".
func (l Lane) String() string {
	if int(l) < lanes {
		return [lanes]string{"alarm", "normal", "bulk"}[l]
	}
	return fmt.Sprintf("lane(%d)", uint8(l))
}

// Message is what a producer puts.
type Message struct {
	// Lane must be one of the three.
	Lane Lane
	// Durable messages are never sent before they are fsynced, whatever max_loss says (alarms, command results, `iotagent send`).
	Durable bool
	// Age is how long ago the oldest reading inside was taken, 0 for now: what is left of max_loss counts from there.
	Age time.Duration
	// Readings is how many readings are inside, for the counts of a loss; 0 for messages that hold none.
	Readings int
	// Body is opaque; Put copies it.
	Body []byte
}

// ID names a message for ever. The epoch is random, drawn at every Open; Seq rises by one in each lane of an epoch, from 1.
type ID struct {
	Epoch uint64
	Lane  Lane
	Seq   uint64
}

// String returns "<epoch as 16 hex digits>-<lane>-<seq>", the message-id on the wire.
func (id ID) String() string { return fmt.Sprintf("%016x-%s-%d", id.Epoch, id.Lane, id.Seq) }

// Entry is a message that the cursor handed out, in flight until Ack, Release or Reject.
type Entry struct {
	ID ID
	// Body is the caller's to read, not to change; nil for a gap.
	Body     []byte
	Readings int
	// First is the first sequence number that the message stands for: ID.Seq, unless it was thinned, when it took the place of First to
	// ID.Seq.
	First uint64
	// Sent says that it may have been handed out before, in this process or an earlier one.
	Sent bool
	// Gap is set instead of Body where messages are missing; it takes the place of what was lost.
	Gap *Gap
}

// Gap declares a loss. From and To are sequence numbers of one epoch and lane, both included; Epoch, From and To are 0 where a damaged
// file does not tell them.
type Gap struct {
	Epoch    uint64 `json:"epoch"`
	Lane     Lane   `json:"lane"`
	From     uint64 `json:"from"`
	To       uint64 `json:"to"`
	Messages uint64 `json:"messages"`
	Readings uint64 `json:"readings"`
	// AtMost says that the counts are upper bounds (a damaged file), not exact. With Messages 0 nobody knows how many.
	AtMost bool `json:"at_most"`
	// Within is set for "unclean-stop": what was put in the last Within (Options.MaxLoss) before that stop may be missing.
	Within time.Duration `json:"within,omitempty"`
	// Reason is "quota" (the disk space allowed was used up), "memory" (the disk did not work and memory was full), "damage",
	// "unclean-stop" or "purged" (by `iotagent queue purge`).
	Reason string `json:"reason"`
}

// Errors of the package; others are wrapped causes.
var (
	// ErrClosed: the outbox was closed.
	ErrClosed = errors.New("outbox closed")
	// ErrLocked: another process has the directory open.
	ErrLocked = errors.New("outbox in use by another process")
	// ErrNotDurable: the message is queued in memory, but the disk did not take it (full, read-only, I/O error). It will be
	// sent, and written as soon as the disk works again; it is lost if the process ends before either.
	ErrNotDurable = errors.New("not on disk yet")
	// ErrTooLarge: a body over Options.MaxMessage. Nothing of the call was queued.
	ErrTooLarge = errors.New("message too large")
	// ErrReadOnly: the outbox was opened for looking only.
	ErrReadOnly = errors.New("outbox opened for reading only")
	// ErrFull: the disk does not work and the memory stage is full too. Nothing of the call was queued.
	ErrFull = errors.New("outbox full")
)

// Queue is the whole interface of an open outbox, and what its in-memory fake implements too. All methods may be called concurrently.
type Queue interface {
	// Put queues messages in the order given, all or none, and returns their ids. When it returns nil every message will survive as the
	// promise of the package says (for Durable ones: it is fsynced). An error wrapping ErrNotDurable comes with ids: they are queued.
	Put(ctx context.Context, ms ...Message) ([]ID, error)
	// Next hands out up to max entries of at most maxBytes together (always one, if there is one), in drain order: lanes by
	// priority, oldest first within one; released entries first. With Options.LiveFirst normal and bulk ones put after the last Mark
	// go before all others of these two lanes. It never blocks; nothing to hand out is an empty slice.
	Next(max, maxBytes int) ([]Entry, error)
	// Ack says that the hub accepted them. They are deleted, on disk at the latest after 1 000 acks or 1 s. Unknown ids are ignored.
	Ack(ids ...ID) error
	// Release gives them back: the next Next hands them out again, in order. Unknown ids are ignored.
	Release(ids ...ID)
	// Reject moves one to the dead letters with the reason. Durable when it returns nil.
	Reject(id ID, reason string) error
	// Mark makes everything that waits now the backlog: with Options.LiveFirst what is put later is handed out before it, in the order of
	// the puts. Call it when a connection begins. Without LiveFirst it does nothing.
	Mark()
	// Changed returns a channel that is closed at the next Put or Release. Take it before Next, so that no wake-up is lost.
	Changed() <-chan struct{}
	// Sync returns once everything put and acked so far is fsynced, or says why not.
	Sync(ctx context.Context) error
	// Stats returns the present counts. It is cheap and never touches the disk.
	Stats() Stats
	// Close syncs and lets the directory go. What is in flight is handed out again at the next Open.
	Close() error
}

// Stats describes an outbox at one moment.
type Stats struct {
	// Epoch of this opening.
	Epoch uint64
	// Queued, Bytes and Oldest are what waits, per lane: messages, body bytes, and the wall time the oldest was put.
	Queued [lanes]uint64
	Bytes  [lanes]uint64
	Oldest [lanes]time.Time
	// InFlight is how many of the queued are handed out.
	InFlight int
	// Put, Acked, Dropped (quota), Dead (letters kept now) and Rejected count since Open, Dead excepted.
	Put, Acked, Dropped, Rejected [lanes]uint64
	// Thinned is by how many messages thinning made the queue shorter since Open.
	Thinned [lanes]uint64
	Dead    uint64
	// DeadDropped is how many letters were thrown away ever, oldest first, because there were too many.
	DeadDropped uint64
	// DiskBytes is what the files take; QuotaBytes is the limit.
	DiskBytes, QuotaBytes int64
	// Commits and WrittenBytes since Open: fsynced transactions and the bytes of the pages they wrote.
	Commits      uint64
	WrittenBytes uint64
	// Degraded is why the disk is not being written, "" when it is; RAMOnly is how many messages exist only in memory.
	Degraded string
	RAMOnly  uint64
	// SetAside lists the damaged files that were renamed, newest last.
	SetAside []string
}
