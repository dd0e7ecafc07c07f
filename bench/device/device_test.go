package device_test

import (
	"os"
	"path/filepath"
	"testing"

	"iotagent/bench/device"
)

func TestUsage(t *testing.T) {
	m, err := device.Resident()
	if err != nil || m.Anon == 0 || m.File == 0 || m.RSS < m.Anon+m.File {
		t.Errorf("memory %+v, %v", m, err)
	}
	if cpu, err := device.CPU(); cpu <= 0 || err != nil {
		t.Errorf("processor time %v, %v", cpu, err)
	}
}

func TestLoopCountsWhatIsWritten(t *testing.T) {
	v, err := device.Loop(t.Context(), t.TempDir(), "vol", 512<<20, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	written := func() int64 {
		t.Helper()
		if err := v.SyncFS(); err != nil {
			t.Fatal(err)
		}
		n, err := v.WrittenBytes()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := written()
	if idle := written(); idle != before {
		t.Errorf("%d bytes with nothing to write", idle-before)
	}
	if err := os.WriteFile(filepath.Join(v.Dir, "x"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := written() - before; n < 1<<20 || n > 1<<20+200<<10 {
		t.Errorf("%d bytes for a file of 1 MiB", n)
	}
	before = written()
	if err := v.CommitJournal(); err != nil {
		t.Fatal(err)
	}
	if n, _ := v.WrittenBytes(); n != before {
		t.Errorf("%d bytes for a journal with nothing in it", n-before)
	}
	if err := v.DropCaches(); err != nil {
		t.Error(err)
	}
}
