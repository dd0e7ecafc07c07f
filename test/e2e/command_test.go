package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iotagent/hubsim"
)

// effects counts the lines that a command's script wrote.
func effects(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

// until is a script that leaves a line in a file and then runs for as long as another file exists, which is until the test ends.
func lasting(t *testing.T, effect string) string {
	t.Helper()
	running := filepath.Join(t.TempDir(), "running")
	if err := os.WriteFile(running, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return "echo once >> '" + effect + "'; while [ -e '" + running + "' ]; do sleep 0.1; done"
}

func TestCommands(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	effect := filepath.Join(t.TempDir(), "effect")
	b := gateway(t, h, settings{blocks: "\n[[command]]\nname = \"lamp\"\ntype = \"gpio\"\npin = \"sim\"\n" +
		executed("note", "echo once >> '"+effect+"'; cat")})
	d := b.run()

	h.command("known", "lamp", `{"level":"high"}`)
	h.feedback("known", "Success")
	if s := b.status(); len(s.Commands) != 2 || s.Commands[0].Level != "high" {
		t.Errorf("status: %+v", s.Commands)
	}

	h.command("unknown", "lmap", `{"level":"high"}`)
	h.feedback("unknown", "Rejected")
	d.says(`unknown command \"lmap\"; known: lamp, note`)

	h.command("broken", "lamp", `{"level":`)
	h.feedback("broken", "Rejected")
	d.says("body is not JSON")

	h.command("wrong", "lamp", `{"level":"hihg"}`)
	h.feedback("wrong", "Rejected")

	h.command("twice", "note", `{"a":1}`)
	h.feedback("twice", "Success")
	h.command("twice", "note", `{"a":1}`)
	h.feedback("twice", "Success", "Success")
	h.command("twice", "note", `{"a":2}`)
	h.feedback("twice", "Success", "Success", "Rejected")
	d.says("id reused")
	if n := effects(t, effect); n != 1 {
		t.Errorf("the script ran %d times", n)
	}
	d.stop()
	d = b.run() // another process knows it too
	h.command("twice", "note", `{"a":1}`)
	h.feedback("twice", "Success", "Success", "Rejected", "Success")
	if n := effects(t, effect); n != 1 {
		t.Errorf("the script ran %d times", n)
	}
	d.stop()
}

// The hub's clock is an hour behind, so it delivers a command whose time is over.
func TestCommandExpired(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	effect := filepath.Join(t.TempDir(), "effect")
	b := gateway(t, h, settings{blocks: executed("note", "echo once >> '"+effect+"'")})
	d := b.run()
	h.commandUntil("late", "note", "", time.Now().Add(-10*time.Minute))
	h.feedback("late", "Rejected")
	d.says("expired at")
	if n := effects(t, effect); n != 0 {
		t.Errorf("the script ran %d times", n)
	}
	d.stop()
}

func TestHandlerNeverEnds(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{DirectEvents: true})
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	b := gateway(t, h, settings{blocks: executed("short", lasting(t, first), `timeout = "1s"`) +
		executed("long", lasting(t, second), `timeout = "3s"`, `settle_within = "500ms"`)})
	d := b.run()
	h.command("a", "short", "")
	h.feedback("a", "Rejected")
	d.says("timed_out")

	h.command("b", "long", "")
	h.feedback("b", "Success") // the hub is not kept waiting
	h.until("the result", func() bool { return len(h.ofKind("command-result")) == 1 })
	result := h.ofKind("command-result")[0]
	for _, want := range []string{`"command":"long"`, `"status":"timed_out"`} {
		if !strings.Contains(result.body, want) {
			t.Errorf("result %s lacks %s", result.body, want)
		}
	}
	if id := h.correlations(h.Accepted())[result.id]; id != "b" {
		t.Errorf("correlation-id %v", id)
	}
	if effects(t, first) != 1 || effects(t, second) != 1 {
		t.Error("not run once each")
	}
	h.command("c", "short", "") // the handlers are free again
	h.feedback("c", "Rejected")
	d.stop()
	h.whole()
}

// A kill between "begun" and the end of a command: it does not run again, and the cloud hears that nobody knows what became of it.
func TestCommandAcrossKill(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{DirectEvents: true, CommandLock: 3 * time.Second})
	effect := filepath.Join(t.TempDir(), "effect")
	b := gateway(t, h, settings{blocks: executed("slow", lasting(t, effect), `timeout = "5m"`)})
	d := b.run()
	h.command("cut", "slow", "")
	await(t, "the effect", func() bool { return effects(t, effect) == 1 })
	d.kill()
	d = b.run()
	h.feedback("cut", "Rejected")
	d.says("interrupted")
	h.until("the result", func() bool { return len(h.ofKind("command-result")) == 1 })
	result := h.ofKind("command-result")[0]
	if !strings.Contains(result.body, `"status":"interrupted"`) {
		t.Errorf("result %s", result.body)
	}
	if id := h.correlations(h.Accepted())[result.id]; id != "cut" {
		t.Errorf("correlation-id %v", id)
	}
	d.stop()
	if n := effects(t, effect); n != 1 {
		t.Errorf("the script ran %d times", n)
	}
}
