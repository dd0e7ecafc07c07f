package faults

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// faultTime is how long the disk does not work: the first attempt fails, and the next one, a second or two later.
const faultTime = 1500 * time.Millisecond

// TestDiskErrors makes system calls of a working outbox fail for a while. It goes on, says so, and works again soon after, with nothing lost
// that was promised.
func TestDiskErrors(t *testing.T) {
	t.Parallel()
	needStrace(t)
	tests := map[string]struct {
		calls, fault string
		seldom       bool // the calls may not happen at all
		blind        bool // the disk cannot even be read: what is in memory goes first
	}{
		"sync of data":     {"fdatasync", "error=EIO", false, false},
		"any sync":         {"fdatasync,fsync", "error=EIO", false, false},
		"write":            {"pwrite64", "error=EIO", false, false},
		"full":             {"pwrite64,fallocate,ftruncate,?ftruncate64", "error=ENOSPC", false, false},
		"no room to grow":  {"fallocate,ftruncate,?ftruncate64", "error=ENOSPC", true, false},
		"read and write":   {"pread64,pwrite64", "error=EIO", false, true},
		"read-only":        {"pwrite64,fallocate,ftruncate,?ftruncate64,unlinkat,?renameat,?renameat2,mkdirat,fdatasync,fsync", "error=EROFS", false, false},
		"nothing at all":   {"openat,pread64,pwrite64,fallocate,ftruncate,?ftruncate64,unlinkat,?renameat,?renameat2,mkdirat,fdatasync,fsync", "error=EIO", false, true},
		"removal":          {"unlinkat,?unlink", "error=EIO", true, false},
		"slow, not broken": {"fdatasync", "delay_enter=300000", true, false},
	}
	for name, tt := range tests {
		for mode, loss := range map[string]time.Duration{"fsynced": 0, "memory stage": 200 * time.Millisecond} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				j := job{MaxLoss: loss, Safe: 50, MaxBytes: 64 << 20, Big: 60_000, Pause: 20 * time.Millisecond, Unordered: tt.blind}
				diskError(t, j, tt.calls, tt.fault, tt.seldom)
			})
		}
	}
}

func diskError(t *testing.T, j job, calls, fault string, seldom bool) {
	j.Dir = filepath.Join(memoryDir(t), "outbox")
	p := start(t, j)
	good := func(n *note) bool { return n.What == put && n.Safe }
	seen := p.await(t, "a put", 0, ready, good)
	injected, ended := p.inject(t, calls, fault, faultTime)
	sick := 0
	for _, n := range p.told()[seen:] {
		if n.What == degraded || n.What == notSafe || n.What == refused {
			sick++
		}
	}
	if injected == 0 || sick == 0 {
		if !seldom {
			t.Errorf("%d calls failed and the outbox told of it %d times: the test proves nothing", injected, sick)
		}
	}
	from := p.await(t, "the disk to work again", 0, ready, healthy(ended))
	from = p.await(t, "a put after the fault", from, ready, func(n *note) bool { return good(n) && n.time().After(ended) })
	took := p.told()[from-1].time().Sub(ended)
	p.await(t, "a sync of all", from, 4*ready, func(n *note) bool { return n.What == synced })
	at := p.kill()
	h := newHistory(j.MaxLoss)
	for _, n := range p.told() {
		h.add(n)
	}
	f := examine(t, &j, h, at)
	if f.err() != nil {
		t.Error(f.err())
	}
	sum := summary{}
	sum.add(f)
	t.Logf("%d calls failed, %d notes of trouble, worked again after %s: %s", injected, sick, took.Round(time.Millisecond), &sum)
}

// inject makes the calls of the process fail for a time, and returns how many did and when it began to let go.
func (p *process) inject(t *testing.T, calls, fault string, d time.Duration) (failed int, ended time.Time) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	cmd := exec.CommandContext(ctx, "strace", "-f", "-qq", "-s", "0", "-o", trace, "-e", "signal=none", "-e", "trace="+calls,
		"-e", "inject="+calls+":"+fault, "-p", fmt.Sprint(p.pid))
	cmd.Cancel = func() error {
		ended = time.Now()
		return cmd.Process.Signal(syscall.SIGTERM) // it lets the process go
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if ctx.Err() == nil {
		t.Fatalf("strace: %v\n%s", err, stderr.String())
	}
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "(INJECTED)") + strings.Count(string(b), "(DELAYED)"), ended
}
