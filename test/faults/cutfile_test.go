package faults

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFileCut makes the largest file of a working outbox shorter, so that memory which it has mapped is gone: the process must survive the
// SIGBUS, put the file aside, go on, and declare what is missing.
func TestFileCut(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]int64{"an eighth is left": 8, "nothing is left": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := job{
				Dir: filepath.Join(memoryDir(t), "outbox"), MaxBytes: 64 << 20, Big: 20_000, Take: 3, Pause: 10 * time.Millisecond, Unordered: true,
			}
			p := start(t, j)
			seen := 0
			for range 150 { // a backlog
				seen = p.await(t, "a put", seen, ready, func(n *note) bool { return n.What == put })
			}
			cutLargest(t, j.Dir, keep)
			at := time.Now()
			// Half a second of puts and reads, so that both meet what is missing; then it must work.
			wait(t.Context().Done(), 500*time.Millisecond)
			seen = p.await(t, "a put after the cut", len(p.told()), ready, func(n *note) bool { return n.What == put })
			took := p.told()[seen-1].time().Sub(at)
			p.await(t, "a sync after the cut", seen, 4*ready, func(n *note) bool { return n.What == synced })
			p.stop(t)
			h := newHistory(0)
			h.damage = true
			for _, n := range p.told() {
				h.add(n)
			}
			sum, f := summary{}, examine(t, &j, h, time.Now())
			sum.add(f)
			if f.err() != nil {
				t.Error(f.err())
			}
			if len(f.aside) == 0 {
				t.Error("no file was set aside: the cut was not noticed")
			}
			t.Logf("worked again after %s, %d messages lost and declared: %s", took.Round(time.Millisecond), f.damaged, &sum)
		})
	}
}

// cutLargest cuts the file of the queue that takes the most room to a part of that.
func cutLargest(t *testing.T, dir string, part int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	name, most := "", int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || strings.Contains(e.Name(), ".corrupt") {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Blocks*512 > most {
			name, most = e.Name(), st.Blocks*512
		}
	}
	size := int64(0)
	if part > 0 {
		size = most / part &^ 4095
	}
	if err := os.Truncate(filepath.Join(dir, name), size); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s cut from %d to %d bytes", name, most, size)
}
