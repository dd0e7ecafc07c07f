package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iotagent/iothub/sas"
)

// The three programs together: telemetry, a command and its feedback, all read from what the programs write.
func TestWholePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state, events, ready := filepath.Join(dir, "hub"), filepath.Join(dir, "events.jsonl"), filepath.Join(dir, "ready")
	hubArgs := []string{"--listen", "127.0.0.1:0", "--state", state, "--device", device, "--events", events, "--ready-file", ready, "--feedback-delay", "100ms"}
	sim := launch(t, nil, "hubsim", hubArgs...)
	await(t, "the hub", func() bool { _, err := os.Stat(ready); return err == nil })
	text, err := os.ReadFile(filepath.Join(state, "devices", device+".connection-string"))
	if err != nil {
		t.Fatal(err)
	}
	cs, err := sas.ParseConnectionString(string(text))
	if err != nil {
		t.Fatal(err)
	}
	b := newBox(t, state, []string{cs.Key.Text(), "sig="}, settings{
		blocks: simulated("boiler") + "\n[[sensor]]\nname = \"machine\"\ntype = \"system\"\ninterval = \"1s\"\n" +
			"\n[[command]]\nname = \"lamp\"\ntype = \"gpio\"\npin = \"sim\"\n",
	})
	d := b.run()
	cloud := func(args ...string) *process {
		return launch(t, nil, "hubctl", append([]string{"--connection-string-file", filepath.Join(state, "service.connection-string"), "--ca", filepath.Join(state, "ca.pem")}, args...)...)
	}
	follow := cloud("events", "--from", "earliest", "--json", "--count", "5")
	watch := cloud("feedback", "--json")
	watch.says("watching")
	sent := cloud("send", device, "--command", "lamp", "--body", `{"level":"high"}`, "--ack", "full")
	if status := sent.wait(); status != 0 {
		t.Fatalf("hubctl send: status %d", status)
	}
	id := strings.TrimSpace(sent.out.String())
	watch.says(id)
	watch.mentions(`"Success"`)
	b.becomes("that the lamp is on", func(s status) bool { return len(s.Commands) == 1 && s.Commands[0].Level == "high" })
	if status := follow.wait(); status != 0 {
		t.Errorf("hubctl events: status %d", status)
	}
	await(t, "both sensors", func() bool {
		log, err := os.ReadFile(events)
		return err == nil && strings.Contains(string(log), `\"sensor\":\"machine\"`) && strings.Contains(string(log), `\"sensor\":\"boiler\"`)
	})
	d.stop()
	sim.stop()
	log, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(follow.out.String()) {
		var e struct{ Device, Body string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Device != device || e.Body == "" {
			t.Errorf("event %s: %v", line, err)
		}
		if !strings.Contains(string(log), line) {
			t.Errorf("hubctl prints another object than hubsim: %s", line)
		}
	}
}
