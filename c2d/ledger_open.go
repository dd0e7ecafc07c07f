package c2d

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"iotagent/internal/durable"
)

// fileMax keeps bbolt away from 2 GiB, where a 32-bit address space ends in a panic; the records never come near it.
const fileMax = 1 << 30

// OpenLedger opens the ledger file at path, usually commands.db in the state directory, or makes a new one, mode 0600.
//
// A damaged file is renamed to PATH.corrupt-TIME, what could still be read of it goes into a new file, and SetAside tells its new
// name: a command that was lost with it could run twice, but an agent that does not start would be no safer. A file that is
// locked, of a newer version, or cannot be read for a reason of the system's is an error.
func OpenLedger(path string, o *LedgerOptions) (*Ledger, error) {
	opts := o.withDefaults()
	l, saved, err := openLedger(path, opts)
	if errors.Is(err, errDamaged) {
		return replace(path, opts, saved, err)
	}
	return l, err
}

func (o *LedgerOptions) withDefaults() LedgerOptions {
	var opts LedgerOptions
	if o != nil {
		opts = *o
	}
	if opts.Retention <= 0 {
		opts.Retention = 49 * time.Hour
	}
	if opts.MaxRecords <= 0 {
		opts.MaxRecords = 200_000
	}
	if opts.LockTimeout <= 0 {
		opts.LockTimeout = time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return opts
}

// SetAside returns the path that a damaged predecessor was renamed to, or "". While it is not "", commands that were run before
// may run again when the hub redelivers them: a person should know.
func (l *Ledger) SetAside() string { return l.setAside }

// Close writes the ledger's age and lets the file go. No call may follow.
func (l *Ledger) Close() error {
	err := l.update(func(*tables) error { return nil })
	if l.broken.Load() != nil {
		return err // bbolt's locks may be held: the process ends without its help
	}
	return errors.Join(err, l.db.Close())
}

// openLedger also returns the records that it read, whole ones only, when the error is errDamaged.
func openLedger(path string, o LedgerOptions) (*Ledger, []*record, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := makeLedger(path, o, nil); err != nil {
			return nil, nil, err
		}
	}
	db, err := openBolt(path, o)
	if err != nil {
		return nil, nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	l := &Ledger{db: db, keep: o.Retention, most: int64(o.MaxRecords), opened: time.Now()}
	if err := l.inspect(); err != nil {
		var saved []*record
		if errors.Is(err, errDamaged) {
			saved = salvage(db)
		}
		return nil, saved, errors.Join(fmt.Errorf("ledger %s: %w", path, err), recovered(db.Close))
	}
	return l, nil, nil
}

// inspect looks at every record once: damage is to be met here and not when a command waits.
func (l *Ledger) inspect() error {
	return recovered(func() error {
		return l.db.View(func(tx *bbolt.Tx) error {
			t := tablesOf(tx)
			if err := l.readMeta(t); err != nil {
				return err
			}
			return t.commands.ForEach(func(k, v []byte) error {
				l.records.Add(1)
				_, err := checked(k, v)
				return err
			})
		})
	})
}

// salvage returns the records of a damaged file, up to the first damage.
func salvage(db *bbolt.DB) []*record {
	var saved []*record
	_ = recovered(func() error { // it will end in the error that is known already
		return db.View(func(tx *bbolt.Tx) error {
			t := tablesOf(tx)
			if t.commands == nil {
				return nil
			}
			return t.commands.ForEach(func(k, v []byte) error {
				r, err := decode(k, v)
				if err == nil {
					saved = append(saved, r)
				}
				return err
			})
		})
	})
	return saved
}

func (l *Ledger) readMeta(t *tables) error {
	if t.commands == nil || t.due == nil || t.ages == nil || t.meta == nil {
		return fmt.Errorf("%w: its tables are missing", errDamaged)
	}
	v := t.meta.Get([]byte(metaVersion))
	if len(v) != 1 {
		return fmt.Errorf("%w: its version is missing", errDamaged)
	}
	if v[0] > ledgerVersion {
		return fmt.Errorf("%w (its format is %d, this one knows %d): install that version again", ErrLedgerVersion, v[0], ledgerVersion)
	}
	if v := t.meta.Get([]byte(metaAge)); len(v) == 8 {
		l.elapsed = time.Duration(binary.BigEndian.Uint64(v))
	}
	return nil
}

// replace renames the damaged file and starts a new one with what was saved.
func replace(path string, o LedgerOptions, saved []*record, why error) (*Ledger, error) {
	aside := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405.000Z")
	if err := os.Rename(path, aside); err != nil {
		return nil, fmt.Errorf("ledger %s is damaged (%w) and cannot be set aside: %w", path, why, err)
	}
	o.Logger.Error("command ledger was damaged and set aside: commands that it had and that the hub redelivers may run a second time",
		"file", aside, "saved", len(saved), "cause", why)
	if err := makeLedger(path, o, saved); err != nil {
		return nil, err
	}
	l, _, err := openLedger(path, o)
	if err != nil {
		return nil, err
	}
	l.setAside = aside
	return l, nil
}

// makeLedger makes the file whole before it gets its name, so that an empty file under that name is always damage.
func makeLedger(path string, o LedgerOptions, saved []*record) (err error) {
	temp := path + ".new"
	defer func() {
		if err != nil {
			err = fmt.Errorf("make ledger %s: %w", path, errors.Join(err, removeIfThere(temp)))
		}
	}()
	if err := removeIfThere(temp); err != nil {
		return err
	}
	db, err := openBolt(temp, o)
	if err != nil {
		return err
	}
	err = errors.Join(db.Update(func(tx *bbolt.Tx) error { return fill(tx, saved) }), db.Close(), durable.KeepOwner(temp))
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// fill writes the tables and the saved records, which are as young as the file; outcomes that may not have been told are due.
func fill(tx *bbolt.Tx, saved []*record) error {
	if err := create(tx); err != nil {
		return err
	}
	t := tablesOf(tx)
	for _, r := range saved {
		if err := t.commands.SetSequence(max(t.commands.Sequence(), r.Seq)); err != nil {
			return err
		}
		var err error
		switch {
		case r.State != stateFinished:
			err = t.write(r)
		case r.Age == 0:
			err = errors.Join(t.write(r), t.due.Put([]byte(r.ID), []byte{}))
		default:
			err = t.grow(r, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openBolt tells damage (errDamaged) from what the system refuses.
func openBolt(path string, o LedgerOptions) (*bbolt.DB, error) {
	var db *bbolt.DB
	var file *os.File
	err := recovered(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: o.LockTimeout, PageSize: 4096, MaxSize: fileMax, NoStatistics: true,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, mode)
				file = f
				return f, err
			},
		})
		return err
	})
	var errno syscall.Errno
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%w (is the agent already running?)", ErrLedgerLocked)
	case errors.As(err, &errno):
		return nil, err
	}
	if file != nil {
		_ = file.Close() // a panic left it open; most often it is closed already
	}
	if !errors.Is(err, errDamaged) {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil, err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
