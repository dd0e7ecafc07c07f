package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
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
	r, err := c.Send(b.t.Context(), &iothub.Message{ID: "m-1", ContentType: "application/json", Properties: []iothub.Property{{Name: "lane", Value: "normal"}}, Body: []byte(body)})
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
