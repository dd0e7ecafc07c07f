package main

import (
	"context"
	"encoding/json"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"iotagent/internal/cli"
	"iotagent/iothub/sas"
)

// web is a bed whose hub has a REST API, too.
type web struct {
	*bed
	addr string
}

func newWeb(t *testing.T) *web {
	t.Helper()
	b := newBed(t)
	l, err := b.ListenHTTPS(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- b.ServeHTTPS(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &web{b, l.Addr().String()}
}

// as runs one command line with a policy's connection string.
func (w *web) as(policy string, args ...string) (status int, stdout, stderr string) {
	w.t.Helper()
	return hubctl(w.t, append([]string{
		"--connection-string-file", filepath.Join(w.dir, policy+".connection-string"), "--ca", filepath.Join(w.dir, "ca.pem"), "--https", w.addr,
	}, args...)...)
}

// done is as for what must succeed without a word on standard error.
func (w *web) done(policy string, args ...string) string {
	w.t.Helper()
	status, out, text := w.as(policy, args...)
	if status != cli.OK || text != "" {
		w.t.Fatalf("%q: status %d, %s", args, status, text)
	}
	return out
}

func TestDevice(t *testing.T) {
	w := newWeb(t)
	const shown = `device         pi-18
status         enabled
connection     disconnected
last activity  never
queued         0 commands
signs in with  a key
`
	if diff := cmp.Diff(shown, w.done("owner", "device", "create", "pi-18")); diff != "" {
		t.Error(diff)
	}
	if out := w.done("owner", "device", "disable", "pi-18", "--reason", "moved"); !strings.Contains(out, "status         disabled (moved)\n") {
		t.Error(out)
	}
	const table = `DEVICE  STATUS    CONNECTION    QUEUED  LAST ACTIVITY
pi-17   enabled   disconnected  0       never
pi-18   disabled  disconnected  0       never
`
	if diff := cmp.Diff(table, w.done("owner", "device", "list")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(shown, w.done("owner", "device", "enable", "pi-18")); diff != "" {
		t.Error(diff)
	}
	if lines := strings.Split(w.done("owner", "device", "list", "--json"), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], `{"deviceId":"pi-18",`) {
		t.Errorf("%q", lines)
	}
	key := w.Devices()["pi-18"].Key.Text()
	var fields map[string]any
	out := w.done("owner", "device", "show", "pi-18", "--json")
	if err := json.Unmarshal([]byte(out), &fields); err != nil || fields["status"] != "enabled" || fields["authenticationType"] != "sas" || strings.Contains(out, key) {
		t.Errorf("%s: %v", out, err)
	}
	if out := w.done("owner", "device", "delete", "pi-18"); out != "deleted pi-18\n" {
		t.Error(out)
	}
	if _, there := w.Devices()["pi-18"]; there {
		t.Error("pi-18 is still there")
	}
	if out := w.done("owner", "device", "delete", "pi-17", "--json"); out != `{"deleted":"pi-17"}`+"\n" {
		t.Error(out)
	}
	if out := w.done("owner", "device", "list"); out != "no devices\n" {
		t.Error(out)
	}
}

// The connection string goes where it is asked for, and nowhere else; a device connects with it.
func TestTheSecretOfADevice(t *testing.T) {
	w := newWeb(t)
	path := filepath.Join(t.TempDir(), "secret")
	out := w.done("owner", "device", "create", "pi-18", "--write-connection-string", path)
	want := w.Devices()["pi-18"]
	if strings.Contains(out, want.Key.Text()) {
		t.Errorf("the key stands in %s", out)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cs, err := sas.ParseConnectionString(string(text))
	if err != nil || cs.Text() != want.Text() {
		t.Errorf("written %v, want %v: %v", cs, want, err)
	}
	if printed := w.done("owner", "device", "show", "pi-18", "--print-connection-string"); printed != want.Text()+"\n" {
		t.Error("printed another connection string")
	}
	for _, command := range []string{"create", "show"} {
		status, _, message := w.as("owner", "device", command, "pi-18", "--write-connection-string", path)
		if status != cli.Failed || !strings.Contains(message, "file exists") || !strings.Contains(message, "not overwritten") {
			t.Errorf("%s over a file: status %d, %s", command, status, message)
		}
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	if status, _, message := w.as("owner", "device", "create", "pi-18", "--write-connection-string", fresh); status != cli.Failed || !strings.Contains(message, "exists already") {
		t.Errorf("status %d, %s", status, message)
	}
	if _, err := os.Stat(fresh); !os.IsNotExist(err) {
		t.Errorf("a file without a secret was left: %v", err)
	}
}

func TestTwin(t *testing.T) {
	w := newWeb(t)
	out := w.done("service", "twin", "set", "pi-17", "--desired", `{"interval":10,"net":{"ssid":"<x>","dns":["a","b"]}}`, "--tags", `{"site":"hall 3"}`)
	first, rest, _ := strings.Cut(out, "\n")
	etag := first[strings.LastIndex(first, " ")+1:]
	if !strings.HasPrefix(first, "pi-17  disconnected  version ") || !strings.Contains(first, "  etag ") {
		t.Error(first)
	}
	const want = `tags
  site = "hall 3"
desired, version 2
  interval = 10
  net.dns = ["a","b"]
  net.ssid = "<x>"
reported, version 1
`
	if diff := cmp.Diff(want, rest); diff != "" {
		t.Error(diff)
	}
	if again := w.done("service", "twin", "get", "pi-17"); again != out {
		t.Errorf("get prints %s\nset %s", again, out)
	}
	var twin struct {
		ETag       string
		Properties struct{ Desired map[string]any }
	}
	if err := json.Unmarshal([]byte(w.done("service", "twin", "set", "pi-17", "--etag", etag, "--desired", `{"net":null}`, "--json")), &twin); err != nil {
		t.Fatal(err)
	}
	if d := twin.Properties.Desired; d["interval"] != 10.0 || d["net"] != nil || d["$version"] != 3.0 || twin.ETag == etag {
		t.Errorf("%+v", twin)
	}
	status, _, text := w.as("service", "twin", "set", "pi-17", "--etag", etag, "--desired", `{"interval":1}`)
	if status != cli.Failed || !strings.Contains(text, "changed meanwhile") || !strings.Contains(text, "hint: ") {
		t.Errorf("an old etag: status %d, %s", status, text)
	}
}

// answerMethods connects pi-17 for methods: every call of its answers with the status and the payload that the request's own holds.
func (w *web) answerMethods() {
	w.t.Helper()
	ctx := w.t.Context()
	raw, err := w.Dial(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	token := w.Devices()["pi-17"].Key.Token("localhost/devices/pi-17", time.Now().Add(time.Hour), "")
	conn, err := amqp.NewConn(ctx, raw, &amqp.ConnOptions{HostName: "localhost", SASLType: amqp.SASLTypePlain("pi-17@sas.localhost", token)})
	if err != nil {
		w.t.Fatal(err)
	}
	sess, err := conn.NewSession(ctx, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	const address = "/devices/pi-17/methods/devicebound"
	pair := map[string]any{"com.microsoft:channel-correlation-id": "methods:1", "com.microsoft:api-version": "2021-04-12"}
	snd, err := sess.NewSender(ctx, address, &amqp.SenderOptions{Properties: pair})
	if err != nil {
		w.t.Fatal(err)
	}
	rcv, err := sess.NewReceiver(ctx, address, &amqp.ReceiverOptions{Properties: pair, Credit: 10})
	if err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- answerCalls(ctx, rcv, snd) }()
	w.t.Cleanup(func() {
		_ = conn.Close() // ends the goroutine
		<-ended
	})
}

func answerCalls(ctx context.Context, rcv *amqp.Receiver, snd *amqp.Sender) error {
	for {
		m, err := rcv.Receive(ctx, nil)
		if err != nil {
			return err
		}
		if m.ApplicationProperties["IoThub-methodname"] == "silence" {
			continue
		}
		var in struct {
			Status  int32
			Payload json.RawMessage
		}
		if err := json.Unmarshal(m.GetData(), &in); err != nil {
			return err
		}
		err = snd.Send(ctx, &amqp.Message{
			Properties: &amqp.MessageProperties{CorrelationID: m.Properties.CorrelationID}, ApplicationProperties: map[string]any{"IoThub-status": in.Status},
			Data: [][]byte{in.Payload},
		}, nil)
		if err != nil {
			return err
		}
	}
}

func TestCall(t *testing.T) {
	w := newWeb(t)
	w.answerMethods()
	const notice = "calling reboot on pi-17, for 30s at most\n"
	status, out, text := w.as("service", "call", "pi-17", "reboot", "--payload", `{"status":200,"payload":{"in":"3 s"}}`)
	if status != cli.OK || out != "status 200\n{\n  \"in\": \"3 s\"\n}\n" || text != notice {
		t.Errorf("status %d, %q, %q", status, out, text)
	}
	status, out, text = w.as("service", "call", "pi-17", "reboot", "--payload", `{"status":201}`, "--json")
	if status != cli.OK || out != `{"status":201,"payload":null}`+"\n" || text != notice {
		t.Errorf("status %d, %q, %q", status, out, text)
	}
	status, out, text = w.as("service", "call", "pi-17", "reboot", "--payload", `{"status":501,"payload":"no such method"}`)
	if status != cli.Failed || out != "status 501\n\"no such method\"\n" || !strings.Contains(text, "the device answered with status 501") {
		t.Errorf("status %d, %q, %q", status, out, text)
	}
	status, out, text = w.as("service", "call", "pi-17", "silence", "--timeout", "5s")
	if status != cli.Failed || out != "" || !strings.Contains(text, "did not answer in time") || !strings.Contains(text, "hint: the device may have done it") {
		t.Errorf("status %d, %q, %q", status, out, text)
	}
}

func TestRefusalsOfTheRestAPI(t *testing.T) {
	w := newWeb(t)
	elsewhere := &web{w.bed, net.JoinHostPort("127.0.0.2", w.port())}
	amqpSide := &web{w.bed, net.JoinHostPort("127.0.0.1", w.port())}
	for name, test := range map[string]struct {
		w          *web
		policy     string
		args       []string
		want, hint string
	}{
		"unknown device":  {w, "owner", []string{"device", "show", "pi-18"}, "no such device", "letter case"},
		"unknown, twin":   {w, "service", []string{"twin", "get", "pi-18"}, "no such device", "letter case"},
		"there already":   {w, "owner", []string{"device", "create", "pi-17"}, "exists already", "device show"},
		"without right":   {w, "service", []string{"device", "list"}, "not authorized", "owner.connection-string"},
		"offline":         {w, "service", []string{"call", "pi-17", "reboot"}, "not online", "--connect-timeout"},
		"nobody there":    {elsewhere, "owner", []string{"device", "list"}, "connection refused", "--https"},
		"another service": {amqpSide, "owner", []string{"device", "list"}, "https to 127.0.0.1:" + w.port(), ""},
		"bad id":          {w, "owner", []string{"device", "create", "pi 17"}, "device id", ""},
	} {
		status, out, text := test.w.as(test.policy, test.args...)
		_, hint, _ := strings.Cut(text, "\nhint: ")
		if status != cli.Failed || out != "" || !strings.Contains(text, test.want) || !strings.Contains(hint, test.hint) {
			t.Errorf("%s: status %d, %q", name, status, text)
		}
		if strings.Contains(text, "SharedAccess") {
			t.Errorf("%s: a secret stands in %q", name, text)
		}
	}
}

// port is the AMQP side's.
func (b *bed) port() string {
	b.t.Helper()
	cs, err := b.ServiceConnection("service")
	if err != nil {
		b.t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(cs.HostName)
	if err != nil {
		b.t.Fatal(err)
	}
	return port
}
