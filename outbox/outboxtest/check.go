package outboxtest

import (
	"errors"
	"io/fs"
	"testing"

	"iotagent/outbox"
)

// Check fails the test if the outbox in dir, which must be closed, is not sound: structure of the file, checksums, counts, order and
// ids. A directory without an outbox is sound.
func Check(t testing.TB, dir string) {
	t.Helper()
	if err := outbox.Verify(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the outbox is not sound: %v", err)
	}
}
