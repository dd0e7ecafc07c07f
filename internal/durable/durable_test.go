package durable_test

import (
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
