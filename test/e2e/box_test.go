package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// box is one gateway: a configuration, a state directory, and every process that ran with them.
type box struct {
	t       *testing.T
	dir     string
	config  string
	state   string
	hub     string // the hub's files
	secrets []string

	mu  sync.Mutex
	ran []*process
}

// settings are lines of the configuration's tables, and whole blocks.
type settings struct {
	hub, agent, outbox, telemetry, blocks string
}

// newBox makes a gateway for the hub whose files lie in hubDir. No process of it may ever show one of the secrets.
func newBox(t *testing.T, hubDir string, secrets []string, s settings) *box {
	t.Helper()
	b := &box{t: t, dir: t.TempDir(), hub: hubDir, secrets: secrets}
	b.config, b.state = filepath.Join(b.dir, "iotagent.toml"), filepath.Join(b.dir, "state")
	b.configure(s)
	t.Cleanup(func() {
		for _, p := range b.ran {
			b.hides(p.name, p.out.String()+p.log.String())
		}
		b.hidesInState()
	})
	return b
}

// gateway is newBox for a hub in the test's process.
func gateway(t *testing.T, h *hub, s settings) *box {
	t.Helper()
	return newBox(t, h.dir, h.secrets(), s)
}

// configure writes the configuration file; connection string and authority are the hub's unless the settings name others.
func (b *box) configure(s settings) {
	b.t.Helper()
	if !strings.Contains(s.hub, "connection_string") {
		s.hub += "\nconnection_string_file = " + quote(filepath.Join(b.hub, "devices", device+".connection-string"))
	}
	if !strings.Contains(s.agent, "state_dir") {
		s.agent += "\nstate_dir = " + quote(b.state)
	}
	if !strings.Contains(s.agent, "log_level") {
		s.agent += "\nlog_level = \"debug\"" // which must not show secrets either
	}
	if !strings.Contains(s.telemetry, "flush_interval") {
		s.telemetry += "\nflush_interval = \"200ms\""
	}
	text := "[hub]\nca_file = " + quote(filepath.Join(b.hub, "ca.pem")) + "\n" + s.hub + "\n[agent]\n" + s.agent +
		"\n[outbox]\n" + s.outbox + "\n[telemetry]\n" + s.telemetry + "\n" + s.blocks
	b.file("iotagent.toml", text, 0o600)
}

func quote(s string) string {
	q, _ := json.Marshal(s) // a TOML basic string takes JSON's escapes; a string always marshals
	return string(q)
}

// file writes a file of the gateway and returns its path.
func (b *box) file(name, text string, mode os.FileMode) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		b.t.Fatal(err)
	}
	return path
}

// hides fails the test when a text shows a secret.
func (b *box) hides(what, text string) {
	b.t.Helper()
	for _, s := range b.secrets {
		if strings.Contains(text, s) {
			b.t.Errorf("%s shows a secret", what)
		}
	}
}

// hidesInState fails the test when a file of the state directory shows a secret.
func (b *box) hidesInState() {
	b.t.Helper()
	err := filepath.WalkDir(b.state, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // never started
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		b.hides(path, string(text))
		return err
	})
	if err != nil {
		b.t.Error(err)
	}
}

// iotagent starts the program with this gateway's configuration.
func (b *box) iotagent(stdin io.Reader, args ...string) *process {
	b.t.Helper()
	p := launch(b.t, stdin, "iotagent", append([]string{"--config", b.config}, args...)...)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ran = append(b.ran, p)
	return p
}

// run starts the daemon.
func (b *box) run() *process {
	b.t.Helper()
	return b.iotagent(nil, "run")
}

// do runs a command to its end and checks the exit status.
func (b *box) do(want int, stdin string, args ...string) *process {
	b.t.Helper()
	p := b.iotagent(strings.NewReader(stdin), args...)
	if status := p.wait(); status != want {
		b.t.Fatalf("%s: status %d, want %d\n%s", p.name, status, want, p.log.String())
	}
	return p
}

// status is what `status --json` says, as far as the tests look at it.
type status struct {
	Link struct {
		State, Error, Class, Hint string
		NextAttempt               *time.Time `json:"next_attempt"`
		Connects, Losses, Sent    uint64
	}
	Outbox struct {
		Lanes []struct {
			Lane                     string
			Queued, Put, Acked, Dead uint64
		}
		Degraded     string
		RAMOnly      uint64 `json:"ram_only"`
		Commits      uint64
		WrittenBytes uint64   `json:"written_bytes"`
		SetAside     []string `json:"set_aside"`
	}
	Readings struct {
		Readings, Messages uint64
		ReadingsLost       uint64 `json:"readings_lost"`
	}
	Metering struct {
		Messages, Metered uint64
	}
	Sensors []struct {
		Name, Quality, Reason string
		Readings, Errors      uint64
	}
	Commands []struct {
		Name, Type, Level string
	}
	ClockTrusted bool `json:"clock_trusted"`
}

func (s status) queued() uint64 {
	var n uint64
	for _, l := range s.Outbox.Lanes {
		n += l.Queued
	}
	return n
}

// status asks for the status, which must be there, and looks at what it and daemon.json show.
func (b *box) status() status {
	b.t.Helper()
	p := b.do(0, "", "status", "--json")
	var s status
	if err := json.Unmarshal([]byte(p.out.String()), &s); err != nil {
		b.t.Fatalf("status: %v\n%s", err, p.out.String())
	}
	if text, err := os.ReadFile(filepath.Join(b.state, "daemon.json")); err == nil {
		b.hides("daemon.json", string(text))
	}
	return s
}

// becomes waits until the status fulfils a condition, and returns it.
func (b *box) becomes(what string, cond func(s status) bool) status {
	b.t.Helper()
	var s status
	await(b.t, "a status that says "+what, func() bool {
		s = b.status()
		return cond(s)
	})
	return s
}

// simulated is a sensor that takes ten readings a second; more are further lines of its block.
func simulated(name string, more ...string) string {
	return "\n[[sensor]]\nname = " + quote(name) + "\ntype = \"sim\"\ninterval = \"100ms\"\n" + strings.Join(more, "\n") + "\n"
}

// executed is a command that runs a shell script; more are further lines of its block.
func executed(name, script string, more ...string) string {
	return "\n[[command]]\nname = " + quote(name) + "\ntype = \"exec\"\npath = \"/bin/sh\"\nargs = [\"-c\", " + quote(script) + "]\n" +
		strings.Join(more, "\n") + "\n"
}
