package c2d

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

func openTest(t *testing.T, path string, o *LedgerOptions) *Ledger {
	t.Helper()
	l, err := OpenLedger(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// finished writes n commands with an outcome.
func finished(t *testing.T, l *Ledger, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		r := newRecord(cmd(fmt.Sprintf("s:%06d", i), "x", "{}"))
		r.State = stateBegun
		if err := l.put(r); err != nil {
			t.Fatal(err)
		}
		r.Result = Result{Status: Done}
		if err := l.finish(r, false); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLedgerFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "commands.db")
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Dir(path), 1234, 1235); err != nil {
			t.Fatal(err)
		}
	}
	l := openTest(t, path, nil)
	finished(t, l, 0, 3)
	if _, err := OpenLedger(path, &LedgerOptions{LockTimeout: time.Millisecond}); !errors.Is(err, ErrLedgerLocked) {
		t.Errorf("second opening: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if os.Geteuid() == 0 {
		if uid, gid := owner(info); uid != 1234 || gid != 1235 {
			t.Errorf("owner %d:%d, want the directory's", uid, gid)
		}
	}
	l = openTest(t, path, nil)
	if r, err := l.get("s:000002"); err != nil || r == nil || r.Result.Status != Done || l.SetAside() != "" {
		t.Errorf("%+v, %v, aside %q", r, err, l.SetAside())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OpenLedger(filepath.Join(t.TempDir(), "none", "commands.db"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestLedgerOfANewerVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "commands.db")
	l := openTest(t, path, nil)
	err := l.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Put([]byte(metaVersion), []byte{ledgerVersion + 1})
	})
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLedger(path, nil); !errors.Is(err, ErrLedgerVersion) {
		t.Errorf("got %v", err)
	}
	if m, _ := filepath.Glob(path + ".corrupt*"); len(m) != 0 {
		t.Errorf("set aside: %v", m)
	}
}

func TestLedgerDamaged(t *testing.T) {
	tests := []struct {
		name   string
		damage func(data []byte) []byte
		saved  bool // some records are in the new file
	}{
		{"empty", func([]byte) []byte { return nil }, false},
		{"garbage", func(d []byte) []byte { return bytes.Repeat([]byte("garbage!"), len(d)/8) }, false},
		{"both metas zeroed", func(d []byte) []byte { clear(d[:8192]); return d }, false},
		{"cut in half", func(d []byte) []byte { return d[:len(d)/2] }, false},
		{"cut to two pages", func(d []byte) []byte { return d[:8192] }, false},
		{"cut to one byte", func(d []byte) []byte { return d[:1] }, false},
		{"data pages zeroed", func(d []byte) []byte { clear(d[8192:]); return d }, false},
		{"data pages random", func(d []byte) []byte {
			for i := 8192; i < len(d); i++ {
				d[i] = byte(uint32(i) * 2654435761 >> 16)
			}
			return d
		}, false},
		{"bit flipped in the last record", func(d []byte) []byte {
			for at := 0; ; { // every version of it
				i := bytes.Index(d[at:], []byte("marker-199"))
				if i < 0 {
					return d
				}
				d[at+i] ^= 1
				at += i + 1
			}
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "commands.db")
			writeLedger(t, path, 200)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			l := openTest(t, path, &LedgerOptions{Logger: testLog(t)})
			if _, err := os.Stat(l.SetAside()); err != nil || !strings.HasPrefix(l.SetAside(), path+".corrupt-") {
				t.Errorf("set aside as %q: %v", l.SetAside(), err)
			}
			r, err := l.get("s:begun")
			if err != nil || (r != nil) != tt.saved {
				t.Errorf("the command that had begun: %+v, %v", r, err)
			}
			finished(t, l, 1000, 1)
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			l = openTest(t, path, nil)
			if l.SetAside() != "" {
				t.Error("damaged again")
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func writeLedger(t *testing.T, path string, n int) {
	t.Helper()
	l := openTest(t, path, nil)
	err := l.update(func(tb *tables) error {
		r := newRecord(cmd("s:begun", "x", ""))
		r.State = stateBegun
		if err := tb.write(r); err != nil {
			return err
		}
		for i := range n {
			r := newRecord(cmd(fmt.Sprintf("s:%06d", i), "x", "{}"))
			r.State, r.Result = stateFinished, Result{Status: Done, Detail: fmt.Sprintf("marker-%03d", i)}
			r.ID = fmt.Sprintf("t:%06d", i)
			if err := tb.grow(r, 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
}

// A page that goes bad while the ledger is open ends no process and is not waited for.
func TestLedgerDamagedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "commands.db")
	writeLedger(t, path, 200)
	l := openTest(t, path, nil)
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := l.get("s:begun"); !errors.Is(err, errDamaged) || !strings.Contains(err.Error(), "restart") {
			t.Errorf("get: %v", err)
		}
	}
	if err := l.Close(); !errors.Is(err, errDamaged) {
		t.Errorf("close: %v", err)
	}
}

func TestLedgerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "commands.db")
		l := openTest(t, path, nil)
		finished(t, l, 0, 20)
		due := newRecord(cmd("s:due", "x", ""))
		if err := l.finish(due, true); err != nil {
			t.Fatal(err)
		}
		has := func(id string) bool {
			r, err := l.get(id)
			if err != nil {
				t.Fatal(err)
			}
			return r != nil
		}
		time.Sleep(40 * time.Hour)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1000 * time.Hour) // switched off, which must not count: the wall clock may be what jumped
		l = openTest(t, path, nil)
		finished(t, l, 100, 1)
		if !has("s:000000") {
			t.Error("forgotten while the device was off")
		}
		time.Sleep(8*time.Hour + 59*time.Minute)
		finished(t, l, 101, 1)
		if !has("s:000000") {
			t.Error("forgotten before 49 h")
		}
		time.Sleep(2 * time.Minute)
		finished(t, l, 102, 3)
		if has("s:000000") || has("s:000019") {
			t.Error("not forgotten after 49 h")
		}
		if !has("s:due") || !has("s:000100") {
			t.Error("forgotten too early")
		}
		if err := l.told(due); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Hour)
		finished(t, l, 200, 2)
		if has("s:due") || has("s:000100") {
			t.Error("kept for ever")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLedgerFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "commands.db")
		l := openTest(t, path, &LedgerOptions{MaxRecords: 30})
		finished(t, l, 0, 20)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = openTest(t, path, &LedgerOptions{MaxRecords: 30})
		finished(t, l, 20, 10)
		r := newRecord(cmd("s:more", "x", ""))
		if err := l.put(r); !errors.Is(err, errFull) {
			t.Fatalf("one too many: %v", err)
		}
		old, err := l.get("s:000000")
		if err != nil || old == nil {
			t.Fatalf("forgot early: %v", err)
		}
		if err := l.erase(old); err != nil {
			t.Fatal(err)
		}
		if err := l.put(r); err != nil {
			t.Errorf("room for one: %v", err)
		}
		time.Sleep(50 * time.Hour)
		finished(t, l, 100, 25)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestLedgerKilled ends a process by SIGKILL among its writes: what it said it had written is there.
func TestLedgerKilled(t *testing.T) {
	const env = "C2D_TEST_LEDGER"
	if path := os.Getenv(env); path != "" {
		l := openTest(t, path, nil)
		for i := 0; ; i++ {
			finished(t, l, i, 1)
			fmt.Printf("wrote s:%06d\n", i)
		}
	}
	for round := range 3 {
		path := filepath.Join(t.TempDir(), "commands.db")
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLedgerKilled$")
		c.Env = append(os.Environ(), env+"="+path)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var wrote []string
		for len(wrote) < 20+30*round && lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "wrote "); ok {
				wrote = append(wrote, id)
			}
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, out)
		_ = c.Wait() // killed, as was asked
		if len(wrote) < 20 {
			t.Fatalf("the child wrote only %d", len(wrote))
		}
		l := openTest(t, path, nil)
		for _, id := range wrote {
			if r, err := l.get(id); err != nil || r == nil || r.State != stateFinished {
				t.Errorf("%s: %+v, %v", id, r, err)
			}
		}
		if l.SetAside() != "" {
			t.Error("damaged")
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	r := newRecord(cmd("s:1", "x", "{}"))
	good, err := encode(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:3])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decode([]byte("s:1"), b)
		if (r == nil) == (err == nil) && b != nil {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func FuzzArguments(f *testing.F) {
	for _, s := range []string{"", " ", "{}", `{"a":1}`, "[]", "null", "{", "\xef\xbb\xbf{}", `{"a":1} x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		args, err := arguments(b)
		if err == nil && args != nil && (args[0] != '{' || args[len(args)-1] != '}') {
			t.Errorf("%q passed as %q", b, args)
		}
	})
}
