package boltfile_test

import (
	"testing"

	"iotagent/outbox/internal/boltfile"
)

// No flipped bit makes a version of another.
func TestFormatBits(t *testing.T) {
	v := boltfile.FormatValue("a file", 1)
	if magic, version, ok := boltfile.Format(v); !ok || magic != "a file" || version != 1 {
		t.Fatalf("%q, %d, %v", magic, version, ok)
	}
	for i := range 8 * len(v) {
		v[i/8] ^= 1 << (i % 8)
		if magic, version, ok := boltfile.Format(v); ok {
			t.Errorf("bit %d flipped: %q, version %d", i, magic, version)
		}
		v[i/8] ^= 1 << (i % 8)
	}
}
