package faults

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loopDisk mounts an ext4 of its own and returns where. mount mounts it again with the options given.
func loopDisk(t *testing.T, size int64) (at, image string) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "only root can mount")
	}
	dir := memoryDir(t)
	at, image = filepath.Join(dir, "mnt"), filepath.Join(dir, "disk")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(image)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", image).CombinedOutput(); err != nil {
		missing(t, "no ext4 can be made: %v: %s", err, out)
	}
	if err := mount(t, "loop", image, at); err != nil {
		missing(t, "no loop device can be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil && !errors.Is(err, unix.EINVAL) { // it is not mounted
			t.Errorf("unmount: %v", err)
		}
	})
	return at, image
}

func mount(t *testing.T, options string, args ...string) error {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "mount", append([]string{"-o", options}, args...)...).CombinedOutput()
	if err != nil {
		return errors.New(string(out))
	}
	return nil
}

// onDisk is a job on a loop device, with a queue that grows.
func onDisk(at string) job {
	return job{Dir: filepath.Join(at, "outbox"), MaxBytes: 64 << 20, Big: 20_000, Take: 20, Pause: 20 * time.Millisecond, Unordered: true}
}

// conclude waits until the worker has everything on the disk after a fault that ended, kills it, examines the outbox and says how it went.
func conclude(t *testing.T, j *job, p *process, seen int, ended time.Time) {
	t.Helper()
	i := p.await(t, "the disk to work again", 0, ready, healthy(ended))
	took := p.told()[i-1].time().Sub(ended)
	i = p.await(t, "a put after the fault", max(i, seen), ready, func(n *note) bool { return n.What == put })
	p.await(t, "a sync of all", i, 4*ready, func(n *note) bool { return n.What == synced })
	examineKilled(t, j, p, took)
}

func examineKilled(t *testing.T, j *job, p *process, took time.Duration) {
	t.Helper()
	at := p.kill()
	h := newHistory(j.MaxLoss)
	for _, n := range p.told() {
		h.add(n)
	}
	sum, f := summary{}, examine(t, j, h, at)
	sum.add(f)
	if f.err() != nil {
		t.Error(f.err())
	}
	t.Logf("worked again after %s: %s", took.Round(time.Millisecond), &sum)
}

// healthy returns a condition that holds when the outbox says, after a moment, that the disk works. On a full disk it may have said so in between, when
// acknowledgements made room.
func healthy(after time.Time) func(n *note) bool {
	sick := false
	return func(n *note) bool {
		sick = n.What == degraded || sick && n.What != healed
		return !sick && n.time().After(after)
	}
}

func trouble(n *note) bool { return n.What == notSafe || n.What == degraded }

// TestFullDisk fills a file system under a working outbox and frees it again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	at, _ := loopDisk(t, 48<<20)
	j := onDisk(at)
	p := start(t, j)
	seen := p.await(t, "a put", 0, ready, func(n *note) bool { return n.What == put })
	ballast, err := os.Create(filepath.Join(at, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(ballast, zeros{}); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk did not fill up: %v", err)
	}
	if err := ballast.Close(); err != nil {
		t.Fatal(err)
	}
	seen = p.await(t, "trouble", seen, 30*time.Second, trouble)
	wait(t.Context().Done(), faultTime)
	ended := time.Now()
	if err := os.Remove(ballast.Name()); err != nil {
		t.Fatal(err)
	}
	conclude(t, &j, p, seen, ended)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestReadOnlyDisk starts on a file system that is mounted read-only: what is there is handed out, what is new waits in memory, and all is
// well when it can be written again.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	at, _ := loopDisk(t, 48<<20)
	j := onDisk(at)
	j.Hold = true
	p := start(t, j)
	for i, n := 0, 0; n < 30; n++ {
		i = p.await(t, "a put", i, ready, func(n *note) bool { return n.What == put })
	}
	if err := mount(t, "remount,ro", at); err == nil {
		t.Error("the kernel made a file system read-only that is being written")
	}
	p.stop(t)
	before := p.told()
	if err := mount(t, "remount,ro", at); err != nil {
		t.Fatal(err)
	}
	j.Hold, j.First = false, 1<<40
	p = start(t, j)
	p.await(t, "trouble", 0, ready, trouble)
	old := map[string]bool{}
	for _, n := range before {
		for _, id := range n.IDs {
			old[id.String()] = true
		}
	}
	seen := p.await(t, "the backlog to be handed out", 0, ready, func(n *note) bool {
		if n.What == acking || n.What == rejecting {
			for _, id := range n.IDs {
				delete(old, id.String())
			}
		}
		return len(old) == 0
	})
	ended := time.Now()
	if err := mount(t, "remount,rw", at); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.notes = append(before[:len(before):len(before)], p.notes...)
	p.mu.Unlock()
	conclude(t, &j, p, len(before)+seen, ended)
}

// TestDiskTurnsReadOnly lets the kernel give up a file system under a working outbox, as it does when the medium fails: it stays read-only
// until it is mounted anew.
func TestDiskTurnsReadOnly(t *testing.T) {
	t.Parallel()
	at, image := loopDisk(t, 48<<20)
	j := onDisk(at)
	p := start(t, j)
	seen := 0
	for range 30 {
		seen = p.await(t, "a put", seen, ready, func(n *note) bool { return n.What == put })
	}
	if err := mount(t, "remount,abort", at); err != nil {
		missing(t, "this kernel cannot abort an ext4: %v", err)
	}
	seen = p.await(t, "trouble", seen, ready, trouble)
	for range 20 { // it goes on in memory, both ways
		seen = p.await(t, "a put in memory", seen, ready, func(n *note) bool { return n.What == notSafe })
		p.await(t, "a message to be handed out", seen, ready, func(n *note) bool { return n.What == acking })
	}
	killed := time.Now()
	p.kill()
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	if err := mount(t, "loop", image, at); err != nil {
		t.Fatal(err)
	}
	examineKilled(t, &j, p, time.Since(killed))
}
