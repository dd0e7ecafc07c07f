package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/internal/cli"
	"iotagent/iothub/sas"
)

// hub is one run of the program.
type hub struct {
	addr string // from the first line
	stop func() int
}

// start runs the program until stop and returns once its first line is out.
func start(t *testing.T, args ...string) hub {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	status := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		status <- Main(ctx, append([]string{"--listen", "127.0.0.1:0"}, args...), cli.IO{Out: w, Err: &stderr})
		_ = w.Close()
	}()
	lines := bufio.NewReader(r)
	first, err := lines.ReadString('\n')
	if err != nil {
		cancel()
		t.Fatalf("no first line; status %d, stderr:\n%s", <-status, stderr.String())
	}
	addr, ok := strings.CutPrefix(strings.TrimSpace(first), "hubsim listens on ")
	if !ok {
		t.Errorf("first line %q", first)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	stop := func() int {
		cancel()
		return <-status
	}
	t.Cleanup(cancel)
	return hub{addr, stop}
}

// connect opens pi-17's link for telemetry with nothing but the files that the program wrote.
func connect(t *testing.T, state string) (*amqp.Conn, *amqp.Sender) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(state, "devices", "pi-17.connection-string"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := sas.ParseConnectionString(string(text))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(state, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("ca.pem holds no certificate")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	token := c.Key.Token(sas.Resource(c.HostName, "pi-17", ""), time.Now().Add(time.Hour), "")
	conn, err := amqp.Dial(ctx, "amqps://"+c.GatewayHostName, &amqp.ConnOptions{
		TLSConfig: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12},
		SASLType:  amqp.SASLTypePlain("pi-17@sas.localhost", token),
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.NewSender(ctx, "/devices/pi-17/messages/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn, s
}

// sendOne sends one telemetry message and returns what came of it.
func sendOne(t *testing.T, state string) error {
	t.Helper()
	conn, s := connect(t, state)
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return s.Send(ctx, amqp.NewMessage([]byte("<hello>")), nil)
}

func TestServesFromItsFilesAndWritesEvents(t *testing.T) {
	dir := t.TempDir()
	state, events, ready := filepath.Join(dir, "state"), filepath.Join(dir, "events.jsonl"), filepath.Join(dir, "ready")
	args := []string{"--state", state, "--device", "pi-17", "--events", events, "--ready-file", ready}
	for range 2 { // the second run finds the device registered, and the same keys
		h := start(t, args...)
		if err := sendOne(t, state); err != nil {
			t.Fatal(err)
		}
		if status := h.stop(); status != cli.OK {
			t.Fatalf("status %d", status)
		}
		if text, err := os.ReadFile(ready); err != nil || string(text) != h.addr+"\n" {
			t.Errorf("ready file %q, %v; want %s", text, err, h.addr)
		}
	}
	text, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) != 2 {
		t.Fatalf("%d lines, want one of each run:\n%s", len(lines), text)
	}
	for _, line := range lines {
		var e struct{ Device, Body string }
		if err := json.Unmarshal(line, &e); err != nil || e.Device != "pi-17" || e.Body != "<hello>" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestExitStatuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, lines := range map[int][][]string{
		cli.Usage: {
			{"--bogus"}, {"extra"}, {"--partitions", "0"}, {"--device", "a/b/c"}, {"--device", "a/"}, {"--x509", "a b=c.pem"}, {"--device-ca", "/nowhere"}, {"--feedback-delay", "0s"}, {"--token-grace=-1s"}, {"--hostname="},
		},
		cli.Failed: {
			{"--listen", "127.0.0.1:99999"},
			{"--listen", "127.0.0.1:0", "--state", file},
			{"--listen", "127.0.0.1:0", "--https", "127.0.0.1:99999"},
			{"--listen", "127.0.0.1:0", "--x509", "d=" + file},
			{"--listen", "127.0.0.1:0", "--device-ca", file},
			{"--listen", "127.0.0.1:0", "--events", filepath.Join(file, "x")},
		},
	} {
		for _, args := range lines {
			var stderr bytes.Buffer
			if got := Main(t.Context(), args, cli.IO{Out: io.Discard, Err: &stderr}); got != want {
				t.Errorf("%q: status %d, want %d; %s", args, got, want, stderr.String())
			}
			if !strings.HasPrefix(stderr.String(), "hubsim: ") {
				t.Errorf("%q: stderr %q", args, stderr.String())
			}
		}
	}
}

func TestServesHTTPS(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	status := make(chan int, 1)
	go func() {
		status <- Main(ctx, []string{"--listen", "127.0.0.1:0", "--https", "127.0.0.1:0", "--state", state, "--device", "pi-17/edge1"}, cli.IO{Out: w, Err: io.Discard})
		_ = w.Close()
	}()
	var addr string
	lines := bufio.NewScanner(r)
	for addr == "" && lines.Scan() {
		addr, _ = strings.CutPrefix(lines.Text(), "  https    ")
		if addr == lines.Text() {
			addr = ""
		}
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	text, err := os.ReadFile(filepath.Join(state, "owner.connection-string"))
	if err != nil {
		t.Fatal(err)
	}
	owner, err := sas.ParseConnectionString(string(text))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(state, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+"/devices/pi-17/modules/edge1?api-version=2021-04-12", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", owner.Key.Token("localhost", time.Now().Add(time.Hour), owner.SharedAccessKeyName))
	answer, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var device struct{ DeviceID, ModuleID string }
	err = json.NewDecoder(answer.Body).Decode(&device)
	_ = answer.Body.Close()
	if err != nil || device.DeviceID != "pi-17" || device.ModuleID != "edge1" {
		t.Errorf("%s: %+v, %v", answer.Status, device, err)
	}
	cancel()
	if got := <-status; got != cli.OK {
		t.Errorf("status %d", got)
	}
}

// brokenPipe fails at the first write.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAnEventThatCannotBeWrittenEndsTheProgram(t *testing.T) {
	state, ready := filepath.Join(t.TempDir(), "state"), make(chan int, 1)
	r, w := io.Pipe()
	go func() {
		ready <- Main(t.Context(), []string{"--listen", "127.0.0.1:0", "--state", state, "--device", "pi-17", "--events", "-"},
			cli.IO{Out: brokenPipe{}, Err: w})
		_ = w.Close()
	}()
	lines := bufio.NewReader(r)
	for { // the list of files is complete with the device's
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "pi-17.connection-string") {
			break
		}
	}
	rest := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(lines)
		rest <- string(text)
	}()
	_ = sendOne(t, state) // the program may end before the answer has left
	if status := <-ready; status != cli.Failed {
		t.Errorf("status %d, want %d", status, cli.Failed)
	}
	if text := <-rest; !strings.Contains(text, "--events") {
		t.Errorf("stderr %q does not say what failed", text)
	}
}

func TestRegistersDevicesWithCertificates(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	h := start(t, "--state", state)
	h.stop()
	// Any certificate will do for the registry; the hub's own is at hand.
	ca := filepath.Join(state, "ca.pem")
	for range 2 {
		h = start(t, "--state", state, "--x509", "one="+ca, "--x509", "two", "--x509", "two/module", "--device-ca", ca)
		h.stop()
	}
	for _, name := range []string{"one", "two", "two/module"} {
		text, err := os.ReadFile(filepath.Join(state, "devices", name+".connection-string"))
		if err != nil || !strings.Contains(string(text), "x509=true") || strings.Contains(string(text), "SharedAccessKey") {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
}
