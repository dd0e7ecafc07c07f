package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"iotagent/hubsim"
)

// webSocket serves AMQP over WebSocket too, and returns the configuration's line for its port.
func (h *hub) webSocket() string {
	h.t.Helper()
	l, err := h.ListenHTTPS(h.t.Context(), "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.ServeHTTPS(context.WithoutCancel(h.t.Context()), l) }()
	h.t.Cleanup(func() {
		h.close()
		if err := <-served; err != nil {
			h.t.Error(err)
		}
	})
	return fmt.Sprintf("websocket_port = %d\n", l.Addr().(*net.TCPAddr).Port)
}

// listener takes connections on loopback, one goroutine for each, until the test ends.
func listener(t *testing.T, serve func(c net.Conn)) (port int) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				serve(c)
				_ = c.Close() // the peer sees that
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends Accept
		serving.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// proxy forwards CONNECT for one user, and counts the connections it made.
func proxy(t *testing.T, user string) (address string, made *atomic.Int64) {
	t.Helper()
	made = &atomic.Int64{}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(user))
	port := listener(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.Header.Get("Proxy-Authorization") != want {
			_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
			return
		}
		hub, err := new(net.Dialer).DialContext(req.Context(), "tcp", req.Host)
		if err != nil {
			return
		}
		made.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
		var up sync.WaitGroup
		up.Go(func() { _, _ = io.Copy(hub, r); _ = hub.Close() })
		_, _ = io.Copy(c, hub)
		_ = c.Close()
		up.Wait()
	})
	return fmt.Sprintf("http://127.0.0.1:%d", port), made
}

func TestOverWebSocket(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{hub: "transport = \"websocket\"\n" + h.webSocket(), blocks: simulated("boiler")})
	d := b.run()
	h.online()
	h.until("telemetry", func() bool { return h.Accepted() >= 5 })
	h.DropConnections()
	before := h.Accepted()
	h.until("telemetry after a reconnect", func() bool { return h.Accepted() >= before+5 })
	d.stop()
	h.whole()
	if n := h.dials.Load(); n != 0 {
		t.Errorf("%d connections to the port of AMQPS", n)
	}
}

// Where port 5671 is blocked the hub is reached by WebSocket, and a restart begins with that.
func TestBlockedPort(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	var tries atomic.Int64
	blocked := listener(t, func(net.Conn) { tries.Add(1) }) // and hangs up
	b := gateway(t, h, settings{hub: fmt.Sprintf("port = %d\n", blocked) + h.webSocket(), blocks: simulated("boiler")})
	d := b.run()
	h.until("telemetry", func() bool { return h.Accepted() >= 3 })
	d.says("the way to the hub changed")
	d.stop()
	first := tries.Load()
	memory, err := os.ReadFile(filepath.Join(b.state, "transport.json"))
	if err != nil || !strings.Contains(string(memory), `"localhost"`) || first == 0 {
		t.Errorf("after %d tries: %s, %v", first, memory, err)
	}
	b.do(0, "", "send", "--body", "again")
	b.do(0, "", "run", "--until-drained")
	if n := tries.Load() - first; n != 0 {
		t.Errorf("the blocked port was tried %d times after a restart", n)
	}
	h.whole()
}

func TestThroughProxy(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	address, made := proxy(t, "plant:pa55word")
	b := gateway(t, h, settings{})
	b.secrets = append(b.secrets, "pa55word", base64.StdEncoding.EncodeToString([]byte("plant:pa55word")))
	b.file("proxy-credentials", "plant:pa55word\n", 0o600)
	web := h.webSocket()
	for i, way := range []string{"amqps", "websocket"} {
		hubKeys := "transport = " + quote(way) + "\nproxy = " + quote(address) + "\n" + web
		b.configure(settings{hub: hubKeys})
		b.do(0, "", "send", "--body", way)
		refused := b.iotagent(nil, "run", "--until-drained")
		refused.says("it wants a name and a password; set proxy_credentials_file")
		refused.kill()

		b.configure(settings{hub: hubKeys + "proxy_credentials_file = \"proxy-credentials\""})
		b.do(0, "", "check").mentions("transport "+way, "through proxy 127.0.0.1:")
		before := made.Load()
		b.do(0, "", "run", "--until-drained")
		if n := made.Load() - before; n < 1 || n > 2 || h.Accepted() != i+1 { // one for the hub's time, where nobody else knows it
			t.Errorf("%s: %d connections by the proxy, %d messages at the hub", way, n, h.Accepted())
		}
	}
}

// The built programs meet over WebSocket, through a proxy.
func TestProgramsOverWebSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state, events, ready := filepath.Join(dir, "hub"), filepath.Join(dir, "events.jsonl"), filepath.Join(dir, "ready")
	sim := launch(t, nil, "hubsim", "--listen", "127.0.0.1:0", "--https", "127.0.0.1:0", "--state", state, "--device", device, "--events", events,
		"--ready-file", ready)
	await(t, "the hub", func() bool { _, err := os.Stat(ready); return err == nil })
	sim.says("control.sock") // a line behind the one that is wanted
	_, web, _ := strings.Cut(sim.out.String(), "  https    127.0.0.1:")
	port, _, _ := strings.Cut(web, "\n")
	address, made := proxy(t, "plant:pa55word")
	b := newBox(t, state, []string{"pa55word", "sig="}, settings{
		hub: "transport = \"websocket\"\nwebsocket_port = " + port + "\nproxy = " + quote(address) + "\nproxy_credentials_file = \"proxy-credentials\"",
	})
	b.file("proxy-credentials", "plant:pa55word\n", 0o600)
	b.do(0, "", "check", "--probe").mentions("the hub is reached")
	b.do(0, "", "send", "--body", "through it all")
	b.do(0, "", "run", "--until-drained")
	sim.stop()
	log, err := os.ReadFile(events)
	if err != nil || !strings.Contains(string(log), `"body":"through it all"`) || made.Load() < 2 || made.Load() > 4 {
		t.Errorf("%d connections by the proxy; the hub got %s, %v", made.Load(), log, err)
	}
}
