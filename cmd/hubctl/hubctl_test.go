package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"iotagent/hubsim"
	"iotagent/internal/cli"
	"iotagent/iothub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is a hub behind TLS on loopback, with the files that hubsim writes.
type bed struct {
	*hubsim.Server
	t       *testing.T
	dir     string // ca.pem, service.connection-string, …
	printed []byte // what hubsim --events prints of the last event
}

func newBed(t *testing.T) *bed {
	t.Helper()
	return newBedWith(t, &hubsim.Options{})
}

func newBedWith(t *testing.T, o *hubsim.Options) *bed {
	t.Helper()
	b := &bed{t: t, dir: filepath.Join(t.TempDir(), "hub")}
	var err error
	o.StateDir, o.FeedbackDelay, o.Events = b.dir, 10*time.Millisecond, func(e *hubsim.Event) {
		var line bytes.Buffer
		if err := encoder(&line).Encode(e); err != nil {
			t.Error(err)
		}
		b.printed = line.Bytes()
	}
	b.Server, err = hubsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AddDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	l, err := b.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(context.WithoutCancel(t.Context()), l) }()
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return b
}

// device connects pi-17.
func (b *bed) device() *iothub.Client {
	b.t.Helper()
	cs := b.Devices()["pi-17"]
	c, err := iothub.Dial(b.t.Context(), &iothub.Options{
		Host: cs.HostName, Gateway: cs.GatewayHostName, DeviceID: "pi-17", Key: cs.Key,
		TLS: &tls.Config{RootCAs: b.CertPool(), MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.t.Context()), 5*time.Second)
		defer cancel()
		_ = c.Close(ctx) // the hub may be gone already
	})
	return c
}

// say sends one telemetry message.
func (b *bed) say(c *iothub.Client, body string) {
	b.t.Helper()
	r, err := c.Send(b.t.Context(), &iothub.Message{ID: "m-1", ContentType: "application/json", Properties: map[string]string{"lane": "normal"}, Body: []byte(body)})
	if err != nil {
		b.t.Fatal(err)
	}
	if o := r.Wait(b.t.Context()); o.State != iothub.Accepted {
		b.t.Fatalf("telemetry: %+v", o)
	}
}

// files are the flags that name the hub.
func (b *bed) files() []string {
	return []string{"--connection-string-file", filepath.Join(b.dir, "service.connection-string"), "--ca", filepath.Join(b.dir, "ca.pem")}
}

// hubctl runs one command line against the hub.
func (b *bed) hubctl(args ...string) (status int, stdout, stderr string) {
	b.t.Helper()
	return hubctl(b.t, append(b.files(), args...)...)
}

func hubctl(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out, err bytes.Buffer
	status = Main(ctx, args, cli.IO{Out: &out, Err: &err})
	if ctx.Err() != nil {
		t.Errorf("%q did not end by itself", args)
	}
	return status, out.String(), err.String()
}

func TestSendAndFeedback(t *testing.T) {
	b := newBed(t)
	device := b.device()
	status, out, text := b.hubctl("send", "pi-17", "--command", "relay", "--body", `{"level":"high"}`, "--ack", "full", "--prop", "k=v=1,2", "--prop", "l=", "--expires", "1m")
	if status != cli.OK || text != "" {
		t.Fatalf("status %d, stderr %s", status, text)
	}
	id := strings.TrimSpace(out)
	d, err := device.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d.MessageID != id || id == "" || string(d.Body) != `{"level":"high"}` || d.Properties["command"] != "relay" || d.Properties["k"] != "v=1,2" || time.Until(d.Expires) > time.Minute {
		t.Errorf("printed %q, got %+v", out, d)
	}
	if l, ok := d.Properties["l"]; !ok || l != "" {
		t.Errorf("properties %v", d.Properties)
	}
	if err := device.Settle(t.Context(), d, iothub.Accept, ""); err != nil {
		t.Fatal(err)
	}
	status, out, text = b.hubctl("feedback", "--count", "1")
	if want := regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3}  pi-17     Success                ` + id + "\n$"); status != cli.OK || !want.MatchString(out) {
		t.Errorf("status %d, got %q", status, out)
	}
	if text != "watching the feedback of localhost\n" {
		t.Errorf("stderr %q", text)
	}
}

// The same commands, signed in with SASL PLAIN.
func TestPlain(t *testing.T) {
	b := newBed(t)
	device := b.device()
	b.say(device, "x")
	before := b.TokenRequests()
	if status, _, text := b.hubctl("--auth", "plain", "send", "pi-17", "--correlation-id", "c-1"); status != cli.OK {
		t.Fatal(text)
	}
	if d, err := device.Receive(t.Context()); err != nil || d.CorrelationID != "c-1" {
		t.Errorf("got %+v: %v", d, err)
	}
	if status, _, text := b.hubctl("--auth", "plain", "events", "--from", "earliest", "--count", "1"); status != cli.OK {
		t.Error(text)
	}
	if n := b.TokenRequests() - before; n != 0 {
		t.Errorf("%d token requests", n)
	}
}

func TestEventsOfAPartition(t *testing.T) {
	b := newBed(t)
	device := b.device()
	b.say(device, "first")
	b.say(device, "second")
	last := b.Events()[1]
	id := strconv.Itoa(last.Partition)
	status, out, text := b.hubctl("events", "--partition", id, "--from", "offset:"+last.Offset, "--count", "1")
	if status != cli.OK || !strings.HasSuffix(out, "second\n") || text != "following 1 partition of localhost\n" {
		t.Errorf("status %d, %q, %q", status, out, text)
	}
	status, out, text = b.hubctl("events", "--partition", id, "--partition", "7")
	if status != cli.Failed || out != "" || !strings.Contains(text, `no such partition: "7"; there are 0, 1, 2, 3`) {
		t.Errorf("status %d, %q, %q", status, out, text)
	}
}

func TestSendAndFeedbackAsJSON(t *testing.T) {
	b := newBed(t)
	device := b.device()
	status, out, text := b.hubctl("send", "pi-17", "--id", "my-<id>", "--ack", "negative", "--json")
	if status != cli.OK || out != `{"device":"pi-17","message_id":"my-<id>"}`+"\n" {
		t.Fatalf("status %d, %s, %s", status, out, text)
	}
	d, err := device.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := device.Settle(t.Context(), d, iothub.Reject, "no"); err != nil {
		t.Fatal(err)
	}
	status, out, text = b.hubctl("feedback", "--count", "1", "--json")
	var f map[string]string
	if err := json.Unmarshal([]byte(out), &f); err != nil || status != cli.OK {
		t.Fatalf("status %d, %s, %s: %v", status, out, text, err)
	}
	if f["originalMessageId"] != "my-<id>" || f["statusCode"] != "Rejected" || f["deviceId"] != "pi-17" || len(f) != 6 {
		t.Errorf("got %v", f)
	}
}

func TestEvents(t *testing.T) {
	b := newBed(t)
	device := b.device()
	b.say(device, `[{"sensor":"boiler","time":"2026-11-22T10:00:00.000Z","temperature_celsius":21.5},{"sensor":"attic","temperature_celsius":3}]`)
	status, out, text := b.hubctl("events", "--from", "earliest", "--count", "1")
	want := regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3}  pi-17     \d/0   boiler \d\d:00:00 temperature_celsius=21\.5\n {30}attic temperature_celsius=3\n$`)
	if status != cli.OK || !want.MatchString(out) {
		t.Errorf("status %d, got:\n%s", status, out)
	}
	if text != "following 4 partitions of localhost\n" {
		t.Errorf("stderr %q", text)
	}
	b.say(device, "<&>")
	status, out, text = b.hubctl("events", "--from", "1", "--count", "1", "--json")
	if status != cli.OK || out != string(b.printed) {
		t.Errorf("status %d, %s\nhubctl %shubsim %s", status, text, out, b.printed)
	}
}

// notify passes on lines and closes seen at the first with a word in it.
type notify struct {
	word string
	seen chan struct{}
}

func (n *notify) Write(p []byte) (int, error) {
	if n.seen != nil && bytes.Contains(p, []byte(n.word)) {
		close(n.seen)
		n.seen = nil
	}
	return len(p), nil
}

func TestFollowingEndsWithItsContext(t *testing.T) {
	b := newBed(t)
	for command, word := range map[string]string{"events": "following", "feedback": "watching"} {
		ctx, cancel := context.WithCancel(t.Context())
		seen := make(chan struct{})
		end := make(chan int, 1)
		go func() {
			end <- Main(ctx, append(b.files(), command), cli.IO{Out: io.Discard, Err: &notify{word, seen}})
		}()
		<-seen
		cancel()
		if status := <-end; status != cli.OK {
			t.Errorf("%s: status %d", command, status)
		}
	}
}

// broken is standard output that nobody reads any more.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestOutputThatCannotBeWrittenEndsTheProgram(t *testing.T) {
	b := newBedWith(t, &hubsim.Options{CommandLock: 2 * time.Second}) // after which the record comes again
	device := b.device()
	b.say(device, "x")
	if status, _, text := b.hubctl("send", "pi-17", "--ack", "full", "--id", "kept"); status != cli.OK {
		t.Fatal(text)
	}
	d, err := device.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := device.Settle(t.Context(), d, iothub.Accept, ""); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"events", "--from", "earliest"}, {"feedback"}, {"send", "pi-17"}} {
		var stderr bytes.Buffer
		if status := Main(t.Context(), append(b.files(), args...), cli.IO{Out: broken{}, Err: &stderr}); status != cli.Failed {
			t.Errorf("%q: status %d, %s", args, status, stderr.String())
		}
	}
	if _, out, text := b.hubctl("feedback", "--count", "1"); !strings.Contains(out, "kept") {
		t.Errorf("the record was lost: %q %s", out, text)
	}
}

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
