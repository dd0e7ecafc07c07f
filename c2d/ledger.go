package c2d

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// Errors that OpenLedger wraps.
var (
	// ErrLedgerLocked: another process holds the ledger.
	ErrLedgerLocked = errors.New("in use by another process")
	// ErrLedgerVersion: a newer program wrote the ledger.
	ErrLedgerVersion = errors.New("written by a newer version of this program")

	errDamaged = errors.New("damaged")
	errFull    = errors.New("full: it keeps every command for two days; it will take new ones as the old ones age")
)

// LedgerOptions tunes OpenLedger.
type LedgerOptions struct {
	// Retention is how long a finished command is remembered at least; default 49 h: the hub's longest time to live, the
	// lock, and a margin.
	Retention time.Duration
	// MaxRecords bounds the file, at about half a kilobyte each; default 200 000, one a second for the retention. A full ledger takes
	// no new commands until old ones have aged; it never forgets one early.
	MaxRecords int
	// LockTimeout is how long another process may keep the file locked; default 1 s.
	LockTimeout time.Duration
	// Logger defaults to a discarding one.
	Logger *slog.Logger
}

// Ledger remembers commands on disk, so that none runs twice. Each change is fsynced before the call that made it returns.
// Make one with OpenLedger; it is safe for concurrent use.
//
// What has been forgotten could run again, so forgetting must not depend on a wall clock that jumps: a record's age is
// counted in time that a program held the ledger open, which never runs faster than real time.
type Ledger struct {
	db       *bbolt.DB
	keep     time.Duration
	most     int64
	records  atomic.Int64
	setAside string

	opened  time.Time     // with its monotonic part
	elapsed time.Duration // age of the ledger when it was opened

	broken atomic.Pointer[error] // set once, when a page turned out damaged while open
}

// state is where a command stands.
type state string

const (
	stateQueued   state = "queued"   // accepted, waiting to run
	stateBegun    state = "begun"    // may have run
	stateFinished state = "finished" // has an outcome
)

// record is what the ledger holds of one command. ID is the key and not in the value.
type record struct {
	ID        string `json:"-"`
	State     state  `json:"state"`
	Name      string `json:"name"`
	MessageID string `json:"message_id,omitempty"`
	Hash      []byte `json:"hash"`
	// Body and Expires are kept until there is an outcome.
	Body    []byte    `json:"body,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	// Seq orders records that are queued.
	Seq uint64 `json:"seq"`
	// Accepted: the hub had its answer before the outcome was known.
	Accepted bool      `json:"accepted,omitempty"`
	Result   Result    `json:"result,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	// Age of the ledger when the record began to age, 0 when it does not.
	Age time.Duration `json:"age,omitempty"`
}

func newRecord(c Command) *record {
	return &record{ID: c.ID, Name: c.Name, MessageID: c.MessageID, Hash: fingerprint(c), Body: c.Body, Expires: c.Expires}
}

// fingerprint tells a redelivery from another command under the same id.
func fingerprint(c Command) []byte {
	h := sha256.New()
	h.Write(binary.AppendUvarint(nil, uint64(len(c.Name))))
	h.Write([]byte(c.Name))
	h.Write(c.Body)
	return h.Sum(nil)[:16]
}

// put writes the record in its state, which is queued or begun.
func (l *Ledger) put(r *record) error {
	return l.update(func(t *tables) error {
		if r.Seq == 0 {
			if l.records.Load()+t.grown >= l.most {
				return errFull
			}
			n, err := t.commands.NextSequence()
			if err != nil {
				return err
			}
			r.Seq = n
		}
		if err := t.revive(r); err != nil {
			return err
		}
		return t.write(r)
	})
}

// finish writes the outcome; with due set the command stays in the list of those to be reported until told is called.
func (l *Ledger) finish(r *record, due bool) error {
	return l.update(func(t *tables) error {
		r.State, r.Body, r.Expires = stateFinished, nil, time.Time{}
		if !due {
			return t.grow(r, l.age())
		}
		if err := t.due.Put([]byte(r.ID), []byte{}); err != nil {
			return err
		}
		return t.write(r)
	})
}

// told notes that the outcome was handed on; from now the record ages.
func (l *Ledger) told(r *record) error {
	return l.update(func(t *tables) error {
		if err := t.due.Delete([]byte(r.ID)); err != nil {
			return err
		}
		return t.grow(r, l.age())
	})
}

// erase forgets a command that did nothing.
func (l *Ledger) erase(r *record) error {
	return l.update(func(t *tables) error { return t.remove([]byte(r.ID)) })
}

// get returns the record of id, or nil.
func (l *Ledger) get(id string) (*record, error) {
	var r *record
	err := l.view(func(t *tables) (err error) {
		r, err = decode([]byte(id), t.commands.Get([]byte(id)))
		return err
	})
	return r, err
}

// nextDue returns the finished command that is to be reported next, the one that ended first, or nil.
func (l *Ledger) nextDue() (*record, error) {
	var first *record
	err := l.view(func(t *tables) error {
		return t.due.ForEach(func(id, _ []byte) error {
			r, err := decode(id, t.commands.Get(id))
			if err == nil && r != nil && (first == nil || cmp.Or(r.Ended.Compare(first.Ended), cmp.Compare(r.Seq, first.Seq)) < 0) {
				first = r
			}
			return err
		})
	})
	return first, err
}

// unfinished returns all records without an outcome.
func (l *Ledger) unfinished() ([]*record, error) {
	var rs []*record
	err := l.view(func(t *tables) error {
		return t.commands.ForEach(func(k, v []byte) error {
			r, err := decode(k, v)
			if err == nil && r.State != stateFinished {
				rs = append(rs, r)
			}
			return err
		})
	})
	return rs, err
}

// age is how long the ledger has been open in its life.
func (l *Ledger) age() time.Duration { return l.elapsed + time.Since(l.opened) }

// purgeMax bounds the work that one commit does for others; above 1, so that the ledger shrinks.
const purgeMax = 8

// update runs fn in a transaction that is fsynced when update returns nil.
func (l *Ledger) update(fn func(*tables) error) error {
	return l.guard(func() error {
		var t *tables
		err := l.db.Update(func(tx *bbolt.Tx) error {
			t = tablesOf(tx)
			if err := t.purge(l.age()-l.keep, purgeMax); err != nil {
				return err
			}
			if err := t.meta.Put([]byte(metaAge), binary.BigEndian.AppendUint64(nil, uint64(l.age()))); err != nil {
				return err
			}
			return fn(t)
		})
		if err == nil {
			l.records.Add(t.grown)
		}
		return err
	})
}

func (l *Ledger) view(fn func(*tables) error) error {
	return l.guard(func() error {
		return l.db.View(func(tx *bbolt.Tx) error { return fn(tablesOf(tx)) })
	})
}

// guard keeps a damaged page from ending the process, and nobody in that state goes back into bbolt: its locks may be held.
func (l *Ledger) guard(fn func() error) error {
	if p := l.broken.Load(); p != nil {
		return *p
	}
	err := recovered(fn)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("ledger %s: %w", l.db.Path(), err)
	if errors.Is(err, errDamaged) {
		err = fmt.Errorf("%w; restart the agent to set the file aside", err)
		l.broken.CompareAndSwap(nil, &err)
	}
	return err
}

// recovered turns the panics and faults that bbolt answers a damaged file with into errors.
func recovered(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errDamaged, v)
		}
	}()
	return fn()
}

// encode puts a checksum in front: bbolt has none for its data pages.
func encode(r *record) ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)), b...), nil
}

// decode returns nil for a nil value.
func decode(id, v []byte) (*record, error) {
	if v == nil {
		return nil, nil //nolint:nilnil // absence is not an error here
	}
	b, err := checked(id, v)
	if err != nil {
		return nil, err
	}
	r := &record{ID: string(id)}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%w: record of command %q: %w", errDamaged, id, err)
	}
	return r, nil
}

// checked returns the record's JSON when its checksum is right.
func checked(id, v []byte) ([]byte, error) {
	if len(v) < 4 || crc32.ChecksumIEEE(v[4:]) != binary.BigEndian.Uint32(v) {
		return nil, fmt.Errorf("%w: record of command %q", errDamaged, id)
	}
	return v[4:], nil
}
