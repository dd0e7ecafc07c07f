package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

// hub is a local IoT Hub on real ports: AMQPS and WebSocket.
type hub struct {
	*hubsim.Server
	plain, web int
}

func newHub(t *testing.T) *hub {
	t.Helper()
	s, err := hubsim.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := s.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web, err := s.ListenHTTPS(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	var serving sync.WaitGroup
	for _, serve := range []func() error{func() error { return s.Serve(ctx, plain) }, func() error { return s.ServeHTTPS(ctx, web) }} {
		serving.Go(func() {
			if err := serve(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return &hub{s, portOf(plain), portOf(web)}
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// realProxy is a CONNECT proxy on loopback.
func realProxy(t *testing.T) string {
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
			serving.Go(func() { forward(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends Accept
		serving.Wait()
	})
	return l.Addr().String()
}

func forward(c net.Conn) {
	defer c.Close() //nolint:errcheck // the client sees that
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	hub, err := new(net.Dialer).DialContext(req.Context(), "tcp", req.Host)
	if err != nil {
		return
	}
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	var up sync.WaitGroup
	up.Go(func() { _, _ = io.Copy(hub, r); _ = hub.Close() })
	_, _ = io.Copy(c, hub)
	_ = c.Close()
	up.Wait()
}

// The AMQP library opens and closes a connection on every way to a hub.
func TestToAHub(t *testing.T) {
	h := newHub(t)
	for _, tt := range []struct {
		mode    Mode
		proxied bool
	}{{AMQPS, false}, {WebSocket, false}, {AMQPS, true}, {WebSocket, true}} {
		t.Run(string(tt.mode)+" "+strconv.FormatBool(tt.proxied), func(t *testing.T) {
			o := &Options{Mode: tt.mode, AMQPSPort: h.plain, WebSocketPort: h.web, TLS: &tls.Config{RootCAs: h.CertPool()}}
			if tt.proxied {
				o.Proxy = FixedProxy(parse(t, "http://"+realProxy(t)))
			}
			c := dialed(t, New(o), Endpoint{Host: "localhost"})
			a, err := amqp.NewConn(t.Context(), c, &amqp.ConnOptions{HostName: "localhost"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.NewSession(t.Context(), nil); err != nil {
				t.Error(err)
			}
			_ = a.Close() // the hub may have hung up first
		})
	}
}
