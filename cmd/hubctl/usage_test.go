package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iotagent/internal/cli"
)

func TestUsage(t *testing.T) {
	t.Setenv("HUBCTL_CONNECTION_STRING_FILE", "")
	for _, args := range [][]string{
		{},
		{"bogus"},
		{"send"},
		{"send", "pi-17"}, // no hub given
		{"events"},
		{"feedback"},
		{"send", "pi-17", "--ack", "maybe"},
		{"send", "pi-17", "--prop", "novalue"},
		{"send", "pi-17", "--expires", "soon"},
		{"send", "pi-17", "--expires=-1s"},
		{"events", "--from", "yesterday"},
		{"events", "--from=-1"},
		{"events", "--from", "2026-11-22"},
		{"events", "--from", "offset:"},
		{"events", "--from", "offset:7'"},
		{"events", "--count=-1"},
		{"--auth", "basic", "events"},
		{"--https", "localhost", "--connection-string-file", "x", "device", "list"},
		{"device"},
		{"device", "create"},
		{"device", "list"}, // no hub given
		{"device", "show", "pi-17", "--print-connection-string", "--write-connection-string", "x"},
		{"twin", "get"},
		{"twin", "set", "pi-17"},
		{"twin", "set", "pi-17", "--desired", "7"},
		{"twin", "set", "pi-17", "--tags", "null"},
		{"call", "pi-17"},
		{"call", "pi-17", "reboot", "--payload", "on"},
		{"call", "pi-17", "reboot", "--timeout", "4s"},
		{"call", "pi-17", "reboot", "--timeout", "5500ms"},
		{"call", "pi-17", "reboot", "--connect-timeout", "301s"},
		{"feedback", "--count=-1"},
		{"version", "extra"},
	} {
		status, out, text := hubctl(t, args...)
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if status != cli.Usage || out != "" || len(lines) != 2 || !strings.HasPrefix(lines[0], "hubctl: ") || !strings.HasPrefix(lines[1], "hint: ") {
			t.Errorf("%q: status %d, %q, %q", args, status, out, text)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"--help"}, []string{"send ", "feedback ", "events ", "device create", "twin set", "call ", "version ", "--auth", "--https", "--connection-string-file", "--ca", "HUBCTL_CA"}},
		{[]string{"events", "--help"}, []string{"earliest", "latest", "sequence", "offset:N", "--partition", "2026-11-22T10:00:00Z", "--consumer-group", "$Default)", "--count", "--json"}},
		{[]string{"send", "--help"}, []string{"--body", "none,positive,negative,full", "--prop", "--expires", "--correlation-id", "--json"}},
		{[]string{"feedback", "--help"}, []string{"--count", "--json"}},
		{[]string{"version"}, []string{"hubctl "}},
		{[]string{"version", "--json"}, []string{`"version":"`, `"platform":"`}},
	} {
		status, out, text := hubctl(t, test.args...)
		if status != cli.OK || text != "" {
			t.Errorf("%q: status %d, %s", test.args, status, text)
		}
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q does not say %q:\n%s", test.args, want, out)
			}
		}
	}
}

func TestConfigurationMistakes(t *testing.T) {
	dir := t.TempDir()
	const key = "a2V5a2V5a2V5a2V5"
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "HostName=localhost;SharedAccessKeyName=service;SharedAccessKey="+key)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--connection-string-file", filepath.Join(dir, "absent")}, "absent"},
		{[]string{"--connection-string-file", dir}, "directory"},
		{[]string{"--connection-string-file", write("empty", "\n")}, "HostName"},
		{[]string{"--connection-string-file", write("mangled", "HostName=localhost;"+key)}, "part 2"},
		{[]string{"--connection-string-file", write("device", "HostName=localhost;DeviceId=pi-17;SharedAccessKey="+key)}, "not a service's"},
		{[]string{"--connection-string-file", good, "--ca", filepath.Join(dir, "absent")}, "--ca"},
		{[]string{"--connection-string-file", good, "--ca", write("ca", "no PEM")}, "no certificate"},
	} {
		for _, command := range [][]string{{"send", "pi-17"}, {"feedback"}, {"events"}} {
			status, out, text := hubctl(t, append(test.args, command...)...)
			if status != cli.Config || out != "" || !strings.Contains(text, test.want) || strings.Contains(text, key) {
				t.Errorf("%q %q: status %d, %q", test.args[1:], command, status, text)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	b := newBed(t)
	cs, err := b.ServiceConnection("service")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	_, port, err := net.SplitHostPort(cs.HostName)
	if err != nil {
		t.Fatal(err)
	}
	const wrongKey = "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXk="
	wrong := write("wrong", "HostName="+cs.HostName+";SharedAccessKeyName=service;SharedAccessKey="+wrongKey)
	elsewhere := write("elsewhere", "HostName=127.0.0.2:"+port+";SharedAccessKeyName=service;SharedAccessKey="+cs.Key.Text())
	service, ca := b.files()[1], b.files()[3]
	for name, test := range map[string]struct {
		args       []string
		want, hint string
	}{
		"unknown device": {[]string{"--ca", ca, "--connection-string-file", service, "send", "pi-18"}, "no such device", "letter case"},
		"wrong key":      {[]string{"--ca", ca, "--connection-string-file", wrong, "send", "pi-17"}, "not authorized", "policy and key"},
		"events, key":    {[]string{"--ca", ca, "--connection-string-file", wrong, "events"}, "not authorized", "policy and key"},
		"feedback, key":  {[]string{"--ca", ca, "--connection-string-file", wrong, "feedback"}, "not authorized", "policy and key"},
		"unknown CA":     {[]string{"--connection-string-file", service, "send", "pi-17"}, "unknown authority", "--ca"},
		"events, CA":     {[]string{"--connection-string-file", service, "events"}, "unknown authority", "--ca"},
		"feedback, CA":   {[]string{"--connection-string-file", service, "feedback"}, "unknown authority", "--ca"},
		"nobody there":   {[]string{"--ca", ca, "--connection-string-file", elsewhere, "send", "pi-17"}, "connect to 127.0.0.2:" + port, "is the hub there"},
	} {
		status, out, text := hubctl(t, test.args...)
		_, hint, _ := strings.Cut(text, "\nhint: ")
		if status != cli.Failed || out != "" || !strings.Contains(text, test.want) || !strings.Contains(hint, test.hint) {
			t.Errorf("%s: status %d, %q", name, status, text)
		}
		if strings.Contains(text, wrongKey) || strings.Contains(text, cs.Key.Text()) || strings.Contains(text, "SharedAccessSignature") {
			t.Errorf("%s: a secret stands in %q", name, text)
		}
	}
	for n := range 50 {
		if status, _, text := b.hubctl("send", "pi-17"); status != cli.OK {
			t.Fatalf("command %d: %s", n, text)
		}
	}
	if status, _, text := b.hubctl("send", "pi-17"); status != cli.Failed || !strings.Contains(text, "is the device connected?") {
		t.Errorf("command 51: status %d, %s", status, text)
	}
	b.RefuseNextAttach("iothub-ehub-localhost/ConsumerGroups/none/Partitions/0", "amqp:not-found", "no such group")
	if status, _, text := b.hubctl("events", "--consumer-group", "none"); status != cli.Failed || !strings.Contains(text, "consumer group none?") {
		t.Errorf("consumer group: status %d, %s", status, text)
	}
}
