package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/hubsim"
)

func TestSecondDaemon(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{blocks: simulated("boiler")})
	d := b.run()
	h.online()
	b.do(1, "", "run").mentions("in use by another process", "another iotagent works in "+b.state)
	if d.hasEnded() {
		t.Error("the first daemon ended")
	}
	b.do(1, "", "run", "--once").mentions("another iotagent works in " + b.state)
	before := h.Accepted()
	h.until("telemetry of the first", func() bool { return h.Accepted() > before })
	d.stop()
}

// What waits in the open message is sent before the end.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{outbox: `max_loss = "10m"`, telemetry: `flush_interval = "5m"`, blocks: simulated("boiler")})
	d := b.run()
	h.online()
	s := b.becomes("ten readings", func(s status) bool { return s.Readings.Readings >= 10 })
	begun := time.Now()
	d.stop()
	if took := time.Since(begun); took > 9*time.Second { // in the first minutes of a boot up to 5 s of it for somebody to vouch for the clock
		t.Errorf("the stop took %s", took)
	}
	if got := h.readings("boiler"); got < int(s.Readings.Readings) {
		t.Errorf("%d of %d readings arrived", got, s.Readings.Readings)
	}
	h.whole()
	if left := b.status(); left.Link.State != "stopped" || left.queued() != 0 {
		t.Errorf("status after the stop: %+v", left)
	}
}

// A hub that takes nothing holds up a stop for drain_timeout, unless somebody insists.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	h.SetTelemetryCredit(0)
	b := gateway(t, h, settings{agent: `drain_timeout = "5m"`, outbox: `max_loss = "0s"`, blocks: simulated("boiler")})
	d := b.run()
	h.online()
	taken := b.becomes("messages queued", func(s status) bool { return s.queued() > 0 })
	d.signal(syscall.SIGTERM)
	d.says("stopping")
	begun := time.Now()
	d.signal(syscall.SIGTERM)
	<-d.ended
	if took := time.Since(begun); took > 2*time.Second || d.status() == 0 {
		t.Errorf("ended after %s with status %d", took, d.status())
	}
	h.SetTelemetryCredit(1000)
	b.do(0, "", "run", "--until-drained")
	h.wholeBut(1)
	if n := h.readings("boiler"); n < int(taken.queued()) { // each a message of its own, and on the disk
		t.Errorf("%d of %d readings arrived", n, taken.queued())
	}
}

// A stop with the hub away is fast: what is queued is safe.
func TestStopOffline(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	h.RefuseConnections(true)
	b := gateway(t, h, settings{agent: `drain_timeout = "5m"`, blocks: simulated("boiler")})
	d := b.run()
	s := b.becomes("messages queued", func(s status) bool { return s.queued() > 0 && s.Link.State == "waiting" })
	d.stop()
	h.RefuseConnections(false)
	b.do(0, "", "run", "--until-drained")
	h.whole()
	if h.Accepted() < int(s.queued()) {
		t.Errorf("%d of %d messages arrived", h.Accepted(), s.queued())
	}
}

func TestFiniteRuns(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{blocks: simulated("boiler") + simulated("attic")})
	b.do(0, "", "run", "--once")
	if n, m := h.readings("boiler"), h.readings("attic"); n != 1 || m != 1 {
		t.Errorf("readings: %d and %d", n, m)
	}
	b.do(0, "", "send", "--body", "queued")
	b.do(0, "", "run", "--until-drained")
	if h.readings("boiler") != 1 || !strings.Contains(bodies(h.messages()), "queued") {
		t.Errorf("until-drained: %s", bodies(h.messages()))
	}
	b.do(0, "", "run", "--until-drained") // nothing to do
	h.whole()
	b.do(80, "", "run", "--once", "--until-drained")

	h.RefuseConnections(true)
	b.do(0, "", "send", "--body", "later")
	d := b.iotagent(nil, "run", "--until-drained")
	d.says("hub not reached")
	d.signal(syscall.SIGTERM)
	if status := d.wait(); status != 1 {
		t.Errorf("status %d with a message left", status)
	}
	d.mentions("1 messages are still queued", "stays queued")
}

func TestControlSocket(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	for name, below := range map[string]string{"short": "state", "long": strings.Repeat("long/", 30) + "state"} {
		t.Run(name, func(t *testing.T) {
			b := gateway(t, h, settings{})
			b.state = filepath.Join(b.dir, below)
			b.configure(settings{})
			d := b.run()
			file := filepath.Join(b.state, "daemon.json")
			await(t, "daemon.json", func() bool { _, err := os.Stat(file); return err == nil })
			if s := b.status(); s.Link.State == "stopped" {
				t.Errorf("status did not reach the daemon")
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, socket, _ := strings.Cut(string(text), `"socket":"`)
			socket, _, _ = strings.Cut(socket, `"`)
			if inside := strings.HasPrefix(socket, b.state); inside != (name == "short") {
				t.Errorf("socket %s", socket)
			}
			b.do(0, "", "send", "--body", "by "+name)
			h.until("the message", func() bool { return strings.Contains(bodies(h.messages()), "by "+name) })
			d.stop()
			for _, left := range []string{file, socket} {
				if _, err := os.Stat(left); !os.IsNotExist(err) {
					t.Errorf("%s is left: %v", left, err)
				}
			}
			if name == "long" {
				if _, err := os.Stat(filepath.Dir(socket)); !os.IsNotExist(err) {
					t.Errorf("the socket's folder is left: %v", err)
				}
			}
		})
	}
}

// While a daemon starts or stops, it holds the outbox and does not answer: status and send wait for one or the other.
func TestBusyOutbox(t *testing.T) {
	t.Parallel()
	b := gateway(t, newHub(t, hubsim.Options{}), settings{})
	b.do(0, "", "send", "--body", "first")
	lock, err := os.Open(filepath.Join(b.state, "outbox"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }() // a lock, nothing written
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ask, send := b.iotagent(nil, "status"), b.iotagent(nil, "send", "--body", "second")
	b.do(1, "", "run", "--until-drained") // waits for a second, the other two for five
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*process{ask, send} {
		if status := p.wait(); status != 0 {
			t.Errorf("%s: status %d", p.name, status)
		}
	}
	if s := b.status(); s.queued() != 2 {
		t.Errorf("%d messages queued", s.queued())
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	b.do(1, "", "status").mentions("in use by another process", "does not answer")
}
