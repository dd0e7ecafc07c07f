//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// script writes an executable and returns the configuration of a command that runs it.
func (h *rheaHub) script(t *testing.T, name, body string) string {
	t.Helper()
	if err := os.WriteFile(h.path(name), []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("\n[[command]]\nname = %q\ntype = \"exec\"\npath = %q\n", name, h.path(name))
}

// send sends one command with hubctl, which is to get feedback, and returns its message-id.
func (h *rheaHub) send(t *testing.T, command string, more ...string) string {
	t.Helper()
	args := append([]string{"send", device, "--command", command, "--ack", "full"}, more...)
	return run(t, "", "hubctl", h.hubctl(args...)...)
}

// settled waits for n answers to commands and returns the last ones of each, by message-id: how often delivered, outcome, reason.
func (h *rheaHub) settled(n int) map[string][]string {
	h.t.Helper()
	h.await(n, "command", anyOf)
	all := map[string][]string{}
	for _, s := range h.events("command") {
		text := s.Outcome
		if s.Reason != "" {
			text += " " + s.Condition + ": " + s.Reason
		}
		if !s.Settled {
			h.t.Errorf("the answer to %s was not settled by the device", s.ID)
		}
		all[s.ID] = append(all[s.ID], text)
	}
	return all
}

// A burst of commands from hubctl: each gets its own answer, and the feedback says so.
func TestCommandsInABurst(t *testing.T) {
	t.Parallel()
	h := newRheaHub(t, nil)
	config := h.agent(t, "\n[[command]]\nname = \"lamp\"\ntype = \"gpio\"\npin = \"sim\"\nsafe = \"low\"\n"+
		h.script(t, "valve", `echo run >>"$0.runs"; [ "$(wc -l <"$0.runs")" -gt 1 ] || exit 75`)+
		h.script(t, "pump", `cat >"$0.input"; echo jammed >&2; exit 1`))
	lamp := h.send(t, "lamp", "--body", `{"level":"high"}`)
	pump := h.send(t, "pump", "--body", `{"speed":3}`)
	valve := h.send(t, "valve")
	unknown := h.send(t, "brake")
	bad := h.send(t, "lamp", "--body", `{"level":`)
	h.order(object{"command": object{
		"device": device, "id": "late", "body": `{"level":"low"}`, "expires": time.Now().Add(-time.Minute).UnixMilli(), "properties": object{"command": "lamp"},
	}})
	daemon := program(t, "iotagent", append(config, "run")...)

	got := h.settled(7)
	for id, want := range map[string][]string{
		lamp: {"accepted"}, pump: {"rejected", "jammed"}, valve: {"released", "accepted"}, unknown: {"rejected", "brake"}, bad: {"rejected"}, "late": {"rejected", "expired"},
	} {
		answers := strings.Join(got[id], " ")
		rest := answers
		for _, word := range want {
			_, after, ok := strings.Cut(rest, word)
			if rest = after; !ok {
				t.Errorf("%s: answered %q, want %q", id, answers, want)
				break
			}
		}
	}
	if input, err := os.ReadFile(h.path("pump.input")); err != nil || strings.TrimSpace(string(input)) != `{"speed":3}` {
		t.Errorf("the program got %q, %v", input, err)
	}
	var status struct {
		Commands []struct{ Name, Level string }
	}
	if err := json.Unmarshal([]byte(run(t, "", "iotagent", append(config, "status", "--json")...)), &status); err != nil {
		t.Fatal(err)
	}
	if i := 0; len(status.Commands) != 3 || status.Commands[i].Name != "lamp" || status.Commands[i].Level != "high" {
		t.Errorf("status: %+v", status)
	}
	daemon.stop()

	codes := map[string]string{}
	for _, line := range strings.Split(run(t, "", "hubctl", h.hubctl("feedback", "--json", "--count", "5")...), "\n") {
		var record struct{ OriginalMessageID, StatusCode, DeviceID string }
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.DeviceID != device {
			t.Errorf("feedback %s: %v", line, err)
		}
		codes[record.OriginalMessageID] = record.StatusCode
	}
	want := map[string]string{lamp: "Success", pump: "Rejected", valve: "Success", unknown: "Rejected", bad: "Rejected"}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Errorf("feedback (-want +got):\n%s", diff)
	}
	h.await(5, "feedback", func(s said) bool { return s.Outcome == "accepted" })
	h.quiet()
}

// hubctl tells an unknown device apart.
func TestCommandForAnUnknownDevice(t *testing.T) {
	t.Parallel()
	h := newRheaHub(t, nil)
	p := program(t, "hubctl", h.hubctl("send", "pi-18", "--command", "lamp")...)
	if status := p.wait(); status != 1 || !strings.Contains(p.stderr(), "pi-18") || !strings.Contains(p.stderr(), "404001") {
		t.Errorf("status %d, %s", status, p.stderr())
	}
	h.quiet()
}

// press is a command that says when it has begun and then waits for the test.
type press struct {
	t           *testing.T
	config      string
	begun, goOn *os.File
	runs        string
}

func newPress(t *testing.T, h *rheaHub) *press {
	t.Helper()
	p := &press{t: t, begun: fifo(t, h.path("begun")), goOn: fifo(t, h.path("go")), runs: h.path("press.runs")}
	p.config = h.script(t, "press", fmt.Sprintf(`echo run >>"$0.runs"; echo begun >%q; read x <%q`, h.path("begun"), h.path("go")))
	return p
}

// fifo makes a named pipe and holds both of its ends, so that nobody has to wait for the other to open it.
func fifo(t *testing.T, path string) *os.File {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // of no more use
	return f
}

// await waits until the command has begun.
func (p *press) await() {
	p.t.Helper()
	if _, err := p.begun.Read(make([]byte, 16)); err != nil {
		p.t.Fatalf("the command has not begun: %v", err)
	}
}

// finish lets the command end.
func (p *press) finish() {
	p.t.Helper()
	if _, err := p.goOn.WriteString("\n"); err != nil {
		p.t.Fatal(err)
	}
}

// ranOnce fails the test if the command ran more or less often.
func (p *press) ranOnce() {
	p.t.Helper()
	if runs, err := os.ReadFile(p.runs); err != nil || string(runs) != "run\n" {
		p.t.Errorf("the command ran: %q, %v", runs, err)
	}
}

// A power cut in the middle of a command: it does not run again, and both the answer and a result message say what happened.
func TestCommandAndPowerCut(t *testing.T) {
	t.Parallel()
	h := newRheaHub(t, nil)
	p := newPress(t, h)
	config := h.agent(t, p.config)
	id := h.send(t, "press")
	daemon := program(t, "iotagent", append(config, "run")...)
	p.await()
	daemon.kill()
	p.finish() // whatever is left of it ends
	daemon = program(t, "iotagent", append(config, "run")...)
	answers := strings.Join(h.settled(1)[id], " ")
	if !strings.HasPrefix(answers, "rejected") || !strings.Contains(answers, "interrupted") {
		t.Errorf("answered %q", answers)
	}
	h.await(1, "telemetry", func(s said) bool {
		return s.Properties["kind"] == "command-result" && s.Correlation == id && strings.Contains(s.Body, "interrupted")
	})
	daemon.stop()
	p.ranOnce()
	h.quiet()
}

// The connection is lost while a command is being carried out: the answer reaches the hub on the next one, without a second run.
func TestCommandOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	h := newRheaHub(t, nil)
	p := newPress(t, h)
	daemon := program(t, "iotagent", append(h.agent(t, p.config), "run")...)
	commands := func(s said) bool { return s.Node == "commands" }
	h.await(1, "link", commands)
	id := h.send(t, "press")
	p.await()
	h.order(object{"drop": true})
	h.await(2, "link", commands)
	p.finish()
	if got := h.settled(1)[id]; !cmp.Equal(got, []string{"accepted"}) {
		t.Errorf("answered %q", got)
	}
	daemon.stop()
	p.ranOnce()
	h.quiet()
}
