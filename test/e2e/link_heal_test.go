package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"iotagent/hubsim"
	"iotagent/internal/simctl"
)

const (
	eventsAddress   = "/devices/" + device + "/messages/events"
	commandsAddress = "/devices/" + device + "/messages/devicebound"
)

// flows waits for telemetry that is newer than the call.
func (h *hub) flows(when string) {
	h.t.Helper()
	before := h.Accepted()
	h.until("telemetry "+when, func() bool { return h.Accepted() > before })
}

// A link or a session that the hub takes away is made anew on the connection that lives.
func TestDetachHealsOnTheSameConnection(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{blocks: simulated("boiler")})
	d := b.run()
	h.online()
	for name, fault := range map[string]func() int{
		"the telemetry link is detached": func() int { return h.DetachLinks(eventsAddress, "amqp:link:detach-forced", "Server Busy") },
		"the command link is detached":   func() int { return h.DetachLinks(commandsAddress, "amqp:internal-error", "") },
		"both are suspended":             func() int { return h.SuspendLinks("", "", "") },
		"their session ends":             func() int { return h.EndSessions("amqp:internal-error", "moving") },
	} {
		h.online()
		h.flows("before " + name)
		if fault() == 0 {
			t.Fatalf("%s: nothing was there", name)
		}
		h.online()
		h.flows("after " + name)
	}
	s := b.becomes("online", func(s status) bool { return s.Link.State == "online" })
	if n := h.dials.Load(); n != 1 || s.Link.Connects != 1 {
		t.Errorf("%d connections, %d by the status", n, s.Link.Connects)
	}
	d.stop()
	h.whole()
}

// A link that the hub has lost without a word is found by a probe and made anew, while the other one and the connection stay.
func TestDeafLinkHeals(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{hub: `keepalive = "5s"`, blocks: simulated("boiler")})
	d := b.run()
	h.online()
	h.SetDeaf(commandsAddress, hubsim.DeafNow)
	d.says("link lost")
	h.online()
	h.flows("beside the other link")
	s := b.becomes("online", func(s status) bool { return s.Link.State == "online" })
	if n := h.dials.Load(); n != 1 || s.Link.Connects != 1 {
		t.Errorf("%d connections, %d by the status", n, s.Link.Connects)
	}
	d.stop()
	h.whole()
}

// hubProcess is a hub in a process of its own, which can be stopped as a machine that hangs is.
type hubProcess struct {
	*process
	dir string
}

func launchHub(t *testing.T) *hubProcess {
	t.Helper()
	dir := t.TempDir()
	p := launch(t, nil, "hubsim", "--listen", "127.0.0.1:0", "--state", dir, "--device", device)
	await(t, "the hub's control socket", func() bool {
		_, err := simctl.AskStatus(t.Context(), filepath.Join(dir, simctl.Socket))
		return err == nil
	})
	return &hubProcess{p, dir}
}

func (h *hubProcess) status() *simctl.Status {
	h.t.Helper()
	s, err := simctl.AskStatus(h.t.Context(), filepath.Join(h.dir, simctl.Socket))
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// A hub that hangs with its connections open is noticed, and found again when it goes on; nothing is lost.
func TestHubFallsSilent(t *testing.T) {
	t.Parallel()
	h := launchHub(t)
	text, err := os.ReadFile(filepath.Join(h.dir, "devices", device+".connection-string"))
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(string(text), "SharedAccessKey=")
	secret, _, _ = strings.Cut(strings.TrimSpace(secret), ";")
	b := newBox(t, h.dir, []string{secret}, settings{hub: `keepalive = "5s"`, blocks: simulated("boiler")})
	d := b.run()
	b.becomes("online", func(s status) bool { return s.Link.State == "online" && s.Link.Sent > 0 })
	h.signal(syscall.SIGSTOP)
	b.becomes("not online", func(s status) bool { return s.Link.State != "online" })
	h.signal(syscall.SIGCONT)
	before := h.status().Events
	await(t, "telemetry again", func() bool { return h.status().Events > before })
	b.becomes("online again", func(s status) bool { return s.Link.State == "online" })
	d.stop()
	if n := b.status().queued(); n != 0 {
		t.Errorf("%d messages left", n)
	}
}
