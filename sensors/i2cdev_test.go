package sensors

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel answers for an adapter that was unplugged with whatever number its driver has for a transfer that went wrong.
func TestUnpluggedAdapter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "i2c-7")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &i2cPort{fd: int(f.Fd()), name: path}
	if err := p.Tx(0x40, []byte{1}, nil); !errors.Is(err, unix.ENOTTY) || adapterGone(err) {
		t.Errorf("while the device file is there: %v, want ENOTTY alone", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := p.Tx(0x40, []byte{1}, nil); !adapterGone(err) || !errors.Is(classifyI2C(err), ErrAbsent) || !strings.Contains(err.Error(), "unplugged") {
		t.Errorf("after it went: %v, want it said", err)
	}
	again, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Tx(0x40, []byte{1}, nil); !adapterGone(err) || !strings.Contains(err.Error(), "unplugged") {
		t.Errorf("after it came back as another file: %v, want it said", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
