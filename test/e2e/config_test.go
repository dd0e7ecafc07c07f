package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// Every mistake of the files is told in one run, with its place, and nothing is started.
func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	b := newBox(t, t.TempDir(), nil, settings{})
	b.file("iotagent.toml", `[hub]
connection_string_fil = "x"
[agent]
state_dir = "`+b.state+`"
drain_timeout = 10
[[sensor]]
name = "boiler"
type = "bme281"
`, 0o600)
	for _, args := range [][]string{{"run"}, {"check"}, {"read"}, {"send", "--body", "x"}, {"status"}} {
		b.do(78, "", args...).mentions(
			b.config+":2:1: hub.connection_string_fil: ", `did you mean "connection_string_file"?`,
			b.config+":5:", "agent.drain_timeout", b.config+":8:", `"bme280"`, "hint: mend the file")
	}
	if _, err := os.Stat(b.state); !os.IsNotExist(err) {
		t.Errorf("a state directory was made: %v", err)
	}
	b.config = filepath.Join(b.dir, "none.toml")
	b.do(78, "", "run").mentions("none.toml", "no such file")
}

func TestReadableSecret(t *testing.T) {
	t.Parallel()
	const key = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="
	b := newBox(t, t.TempDir(), []string{key}, settings{})
	text := "HostName=hub.example;DeviceId=pi-17;SharedAccessKey=" + key + "\n"
	file := b.file("secret", text, 0o644)
	b.configure(settings{hub: "connection_string_file = " + quote(file)})
	b.file("ca.pem", "", 0o644)
	for _, args := range [][]string{{"run"}, {"check"}} {
		b.do(78, "", args...).mentions("mode 0644", "0640 or 0600", "chmod 0640 "+file)
	}
	b.do(0, "", "send", "--body", "x") // needs no secret
	b.do(0, "", "status")
	b.file("secret", "HostName=hub.example;DeviceId=pi-17;SharedAccesKey="+key+"\n", 0o600)
	b.do(78, "", "run")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	b.do(78, "", "run").mentions("no such file: " + file)
	b.file("iotagent.toml", "[hub]\nconnection_string = "+quote(text)+"\n", 0o644)
	b.do(78, "", "run").mentions("0644")
}

func TestUsage(t *testing.T) {
	t.Parallel()
	b := newBox(t, t.TempDir(), nil, settings{})
	for _, args := range [][]string{
		{},
		{"rnu"},
		{"run", "--onec"},
		{"send"},
		{"send", "--body", "x", "--lines"},
		{"send", "--body", "x", "--lane", "fast"},
		{"send", "--body", "x", "--prop", "novalue"},
		{"status", "extra"},
	} {
		b.do(80, "", args...).mentions("iotagent: ")
	}
	if out := b.do(0, "", "--help").out.String(); out == "" {
		t.Error("no help on standard output")
	}
	b.do(0, "", "version")
}
