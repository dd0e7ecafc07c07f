package boltfile

import (
	"errors"
	"fmt"
)

// ErrNewer says that a later version of the program wrote the file. It is never damage.
var ErrNewer = errors.New("written by a newer version")

// ErrLocked says that another process holds the file.
var ErrLocked = errors.New("in use by another process")

// ErrMetaLost says that one of a file's two meta pages is not valid: what the last commit wrote may be lost. It comes within a Damage.
var ErrMetaLost = errors.New("one of the two meta pages is not valid")

// Damage is the error of a file that cannot be trusted: salvage what can be read, and set it aside.
type Damage struct{ err error } //nolint:errname // it is what the file has

// Error is the cause's text.
func (d *Damage) Error() string { return d.err.Error() }

// Unwrap returns the cause.
func (d *Damage) Unwrap() error { return d.err }

// Damaged makes a Damage as fmt.Errorf makes an error.
func Damaged(format string, a ...any) error { return &Damage{fmt.Errorf(format, a...)} }

// IsDamage reports whether a Damage is in the chain of err.
func IsDamage(err error) bool {
	_, ok := errors.AsType[*Damage](err)
	return ok
}
