// Package c2d carries out cloud-to-device commands: it checks them, remembers them in a ledger so that none runs twice, hands them to
// a handler and settles them with a true answer (ARCHITECTURE.md).
package c2d

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"iotagent/internal/quantity"
)

// Command is one cloud-to-device message.
type Command struct {
	// ID is the ledger's key: the type-tagged message-id, or enqueued time and sequence number. Never empty.
	ID string
	// MessageID is the message-id as text, the correlation-id of the result message; may be "".
	MessageID string
	// Name selects the handler.
	Name string
	// Body is a JSON object of arguments, or empty.
	Body []byte
	// Expires is the absolute expiry time, zero for none.
	Expires time.Time
}

// Status is how a command ended, or where it stands.
type Status string

// The statuses that results and result messages carry.
const (
	Done        Status = "done"
	Refused     Status = "refused"     // never ran: unknown, bad arguments, expired, not allowed; or the handler said no
	Failed      Status = "failed"      // ran and did not succeed
	TimedOut    Status = "timed_out"   // ran and was ended
	Crashed     Status = "crashed"     // the handler panicked or was killed
	Interrupted Status = "interrupted" // begun before a stop of the process; what happened is unknown
	TryLater    Status = "try_later"   // nothing happened; the hub may deliver it again
)

// Result is a handler's answer.
type Result struct {
	Status Status `json:"status"`
	// Code is the handler's own number: an exit status, 0 when it has none.
	Code int `json:"code"`
	// Detail is for a person or a program: a sentence, or the JSON a handler printed.
	Detail string `json:"detail,omitempty"`
}

// Handler acts on commands of one name. Run is called by one goroutine at a time.
type Handler interface {
	// Check refuses arguments that Run could not carry out; nil args means an empty body. No side effects. Called concurrently.
	Check(args json.RawMessage) error
	// Run acts. It must return soon after ctx is done. Status TryLater is allowed only when nothing happened.
	Run(ctx context.Context, args json.RawMessage) Result
	// Idempotent says that running a command twice is as good as once: it may run with an untrusted clock and again after an interruption.
	Idempotent() bool
	// State is what a status page shows: {"level":"high"}; nil for nothing. Called at any time, also during a Run.
	State() map[string]string
	// Close brings what it drives to its safe state and lets go. Called once, after the last Run.
	Close() error
}

// Config is the decoded [[command]] table of one handler type: a pointer to a struct with toml tags for the type's own keys.
type Config interface {
	// Validate calls bad for every key whose value cannot be right. No I/O.
	Validate(bad func(key, msg string))
	// Open takes hold of what the handler drives, in its safe state.
	Open(ctx context.Context, env Env) (Handler, error)
}

// Placed is a Config of a handler that holds a GPIO line, which nobody else can have then.
type Placed interface {
	Config
	// Line names it; "" for none.
	Line() string
}

// Env is what handlers get from the program around them.
type Env struct {
	// Name of the command, from its table.
	Name string
	// Root is the directory that holds dev and sys: "/" on a real machine.
	Root string
	// Logger is never nil.
	Logger *slog.Logger
}

// Type is one kind of handler as the list in c2d/all names it.
type Type struct {
	// Name is what `type =` says in the file: "gpio".
	Name string
	// Doc is one line for a person.
	Doc string
	// Sample is a commented, valid [[command]] block to start from.
	Sample string
	// New returns a pointer to the type's configuration struct, holding its defaults.
	New func() Config
}

// Common is what every [[command]] table may say beside its type's own keys.
type Common struct {
	// Name is what a message calls the command by: letters, digits, '-', '_' and '.', at most 64. Unique in the configuration.
	Name string `toml:"name"`
	// Type selects the handler.
	Type string `toml:"type"`
	// Timeout of one run; default 30 s.
	Timeout quantity.Duration `toml:"timeout"`
	// SettleWithin is how long after delivery the hub waits for the outcome at most; default 10 s, at most 50 s.
	SettleWithin quantity.Duration `toml:"settle_within"`
}

// Settlement is the answer to the hub.
type Settlement uint8

// The answers that a device can give.
const (
	Accept Settlement = iota
	Reject
	Release
)

// Settle answers the hub for one delivery; reason goes with Reject. It is called exactly once for each Deliver.
type Settle func(ctx context.Context, s Settlement, reason string) error

// Report is a result message for the cloud, sent through the outbox as durable.
type Report struct {
	// Command and MessageID name the command; the result is theirs.
	Command, MessageID string
	Result
	// Ended is when the outcome was known.
	Ended time.Time
}
