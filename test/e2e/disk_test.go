package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iotagent/hubsim"
)

// smallDisk mounts a file system of 2 MiB under the outbox.
func smallDisk(t *testing.T, b *box) string {
	t.Helper()
	dir := filepath.Join(b.state, "outbox")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=0700"); err != nil {
		t.Skipf("a full disk is a small file system that is mounted, which this user may not do: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes every byte that is left, with a file that is returned.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // there to be full
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	return path
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{blocks: simulated("boiler")})
	dir := smallDisk(t, b)
	h.SetTelemetryCredit(0) // so that the queue grows
	d := b.run()
	h.online()

	filler := fill(t, dir)
	failed := b.do(1, "", "send", "--count", "400", "--size", "1500", "--lane", "bulk")
	failed.mentions("0 messages queued, then: 400 more are in memory only", "not on disk yet", "no space left on device")
	s := b.becomes("that the disk fails", func(s status) bool { return s.Outbox.Degraded != "" })
	if !strings.Contains(s.Outbox.Degraded, "no space left") || s.Outbox.RAMOnly == 0 {
		t.Errorf("status: %+v", s.Outbox)
	}
	b.do(0, "", "status").mentions("FAILING", "in memory only")
	d.mentions("outbox disk does not work")

	// Readings and what was sent go to the hub from memory.
	taken, before := b.status(), h.Accepted()
	h.SetTelemetryCredit(1000)
	h.until("what is in memory", func() bool { return h.Accepted() >= before+int(taken.queued()) })
	if got := h.readings("boiler"); got == 0 {
		t.Error("no readings")
	}

	// With room again everything is written.
	h.SetTelemetryCredit(0)
	fill(t, dir)
	b.do(1, "", "send", "--count", "400", "--size", "1500", "--lane", "bulk")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s = b.becomes("that the disk works", func(s status) bool { return s.Outbox.Degraded == "" && s.Outbox.RAMOnly == 0 })
	d.mentions("outbox disk works again")
	if n := strings.Count(d.log.String(), "outbox disk does not work"); n > 4 {
		t.Errorf("it was said %d times", n)
	}
	b.do(0, "", "send", "--body", "after all")
	d.kill()
	h.SetTelemetryCredit(1000)
	b.do(0, "", "run", "--until-drained")
	h.wholeBut(1)
	if got := h.readings("boiler"); got < int(s.Readings.Readings)-5 { // those in the open message went with the kill
		t.Errorf("%d of %d readings arrived", got, s.Readings.Readings)
	}
	if m := h.messages(); !strings.Contains(bodies(m), "after all") {
		t.Error("a message that send confirmed did not arrive")
	}
}

func bodies(ms []message) string {
	var all strings.Builder
	for _, m := range ms {
		all.WriteString(m.body + "\n")
	}
	return all.String()
}

func TestCorruptOutbox(t *testing.T) {
	t.Parallel()
	const sent = 400
	for name, damage := range map[string]func(b []byte) []byte{
		"random bytes in the middle": func(b []byte) []byte {
			seed := uint32(1)
			for i := len(b) / 4; i < len(b)*3/4; i++ {
				seed = seed*1664525 + 1013904223
				b[i] = byte(seed >> 24)
			}
			return b
		},
		"zeroed":    func(b []byte) []byte { return make([]byte, len(b)) },
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"text":      func([]byte) []byte { return bytes.Repeat([]byte("this is no outbox\n"), 5000) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, hubsim.Options{})
			b := gateway(t, h, settings{})
			b.do(0, "", "send", "--count", "100", "--size", "300")
			b.do(0, "", "send", "--count", "300", "--size", "300")
			path := filepath.Join(b.state, "outbox", "000000000001.seg")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(bytes.TrimRight(data, "\x00")), 0o600); err != nil {
				t.Fatal(err)
			}
			d := b.run()
			d.says("outbox file is damaged")
			h.until("the declaration", func() bool { return len(h.ofKind("gap")) > 0 })
			s := b.becomes("an empty queue", func(s status) bool { return s.queued() == 0 })
			if len(s.Outbox.SetAside) != 1 || !strings.HasPrefix(s.Outbox.SetAside[0], path+".corrupt-") {
				t.Errorf("set aside: %q", s.Outbox.SetAside)
			}
			b.do(0, "", "status").mentions("set aside")
			if n, unknown := declared(t, h); len(h.ofKind(""))+n < sent && !unknown {
				t.Errorf("%d messages arrived and %d were declared lost, of %d", len(h.ofKind("")), n, sent)
			}
			b.do(0, "", "send", "--body", "it goes on")
			h.until("a new message", func() bool { return strings.Contains(bodies(h.messages()), "it goes on") })
			d.stop()
			if n := strings.Count(d.log.String(), "outbox file is damaged"); n != 1 {
				t.Errorf("the damage was met %d times", n)
			}
		})
	}
}

// declared sums up what the gap messages say; unknown is set when one says that nobody knows how many are lost.
func declared(t *testing.T, h *hub) (n int, unknown bool) {
	t.Helper()
	for _, m := range h.ofKind("gap") {
		var body struct {
			Gap struct {
				Messages int
				Reason   string
			}
		}
		if err := json.Unmarshal([]byte(m.body), &body); err != nil || body.Gap.Reason != "damage" {
			t.Errorf("gap %s: %v", m.body, err)
		}
		n += body.Gap.Messages
		unknown = unknown || body.Gap.Messages == 0
	}
	return n, unknown
}
