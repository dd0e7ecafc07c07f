package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"iotagent/internal/durable"
)

func TestKeepOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 1234, 2345); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.KeepOwner(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 1234 || st.Gid != 2345 {
		t.Errorf("owner %+v", info.Sys())
	}
}

func TestSyncDirOfNothing(t *testing.T) {
	if err := durable.SyncDir(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("an absent directory was synced")
	}
	if err := durable.SyncDir(t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"one", "two"} {
		if err := durable.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was left beside it: %v", err)
	}
}

// What cannot be replaced stays as it is, and nothing is left beside it.
func TestWriteFileFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "f")
	if err := os.MkdirAll(filepath.Join(dir, "x"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(dir, []byte("one"), 0o640); err == nil {
		t.Error("a folder was replaced")
	}
	if _, err := os.Stat(dir + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was left beside it: %v", err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "absent", "f"), nil, 0o640); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
