package transport

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	plainAddr = hubName + ":5671"
	webAddr   = hubName + ":443"
)

func TestWays(t *testing.T) {
	for _, tt := range []struct {
		name, proxy, via string
		mode             Mode
		to               Endpoint
		dials            string
	}{
		{"amqps", "", "amqps", AMQPS, Endpoint{Host: hubName}, plainAddr},
		{"amqps on a port", "", "amqps", AMQPS, Endpoint{Host: hubName, Port: 5673}, hubName + ":5673"},
		{"by address", "", "amqps", AMQPS, Endpoint{Host: "192.0.2.1", Name: hubName}, "192.0.2.1:5671"},
		{"websocket", "", "websocket", WebSocket, Endpoint{Host: hubName}, webAddr},
		{"the port is not websocket's", "", "websocket", WebSocket, Endpoint{Host: hubName, Port: 5671}, webAddr},
		{"auto", "", "amqps", Auto, Endpoint{Host: hubName}, plainAddr},
		{"amqps by proxy", "http://proxy.test:3128", "amqps through proxy.test:3128", AMQPS, Endpoint{Host: hubName}, "proxy.test:3128 " + plainAddr},
		{"websocket by proxy", "http://u:pa55@proxy.test", "websocket through proxy.test", WebSocket, Endpoint{Host: hubName}, "proxy.test:80 " + webAddr},
		{"secured proxy", "https://u:pa55@" + hubName + ":8443", "amqps through " + hubName + ":8443", AMQPS, Endpoint{Host: hubName}, hubName + ":8443 " + plainAddr},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.put(plainAddr, n.echo)
				n.put(hubName+":5673", n.echo)
				n.put("192.0.2.1:5671", n.echo)
				n.put(webAddr, n.https(webSocketEcho))
				n.put("proxy.test:3128", n.proxy(""))
				n.put("proxy.test:80", n.proxy("u:pa55"))
				n.put(hubName+":8443", n.tlsProxy("u:pa55"))
				o := n.options()
				o.Mode = tt.mode
				if tt.proxy != "" {
					o.Proxy = FixedProxy(parse(t, tt.proxy))
				}
				c := dialed(t, New(o), tt.to)
				if c.Via() != tt.via {
					t.Errorf("via %q, want %q", c.Via(), tt.via)
				}
				if got := n.took(); got != tt.dials {
					t.Errorf("dialled %s, want %s", got, tt.dials)
				}
				for _, size := range []int{1, 126, 5000, 70000} {
					talk(t, c, size)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				if _, err := c.Write([]byte{1}); err == nil {
					t.Error("a closed connection takes bytes")
				}
			})
		})
	}
}

// Whoever reads learns from whom the end came, as on a connection without a WebSocket.
func TestEndOfWebSocket(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(n *network, c net.Conn)
		want error
	}{
		{"ours", func(_ *network, c net.Conn) { _ = c.Close() }, net.ErrClosed},
		{"the hub's", func(n *network, _ net.Conn) { close(n.leave) }, io.EOF},
		{"the network's", func(n *network, _ net.Conn) { _ = n.open[len(n.open)-1].Close() }, io.EOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.put(webAddr, n.https(n.untilLeave))
				o := n.options()
				o.Mode = WebSocket
				c := dialed(t, New(o), Endpoint{Host: hubName})
				got := make(chan error, 1)
				go func() {
					_, err := c.Read(make([]byte, 1))
					got <- err
				}()
				synctest.Wait()
				tt.end(n, c)
				if err := <-got; !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			})
		})
	}
}

// What stands on the WebSocket's port may be anything.
func TestWebSocketRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(n *network) func(net.Conn)
		op    string
		text  string
	}{
		{"not found", func(n *network) func(net.Conn) { return n.https(http.NotFound) }, "websocket", "HTTP status 404"},
		{"a page", func(n *network) func(net.Conn) {
			return n.https(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("welcome")) })
		}, "websocket", "HTTP status 200"},
		{"redirect", func(n *network) func(net.Conn) {
			return n.https(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://login.test/", http.StatusFound)
			})
		}, "websocket", "HTTP status 302"},
		{"no subprotocol", func(n *network) func(net.Conn) {
			return n.https(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("Sec-WebSocket-Protocol")
				webSocketEcho(w, r)
			})
		}, "websocket", `subprotocol "", want AMQPWSB10`},
		{"endless head", func(n *network) func(net.Conn) { return n.says("HTTP/1.1 101 Switching\r\nX: ", true) }, "websocket", "too long"},
		{"garbage", func(n *network) func(net.Conn) { return n.says("AMQP\x03\x01\x00\x00\r\n\r\n", false) }, "websocket", "malformed HTTP"},
		{"hangs up", func(n *network) func(net.Conn) { return n.says("", false) }, "websocket", "EOF"},
		{"says nothing", func(n *network) func(net.Conn) {
			return func(c net.Conn) { silent(tls.Server(c, n.serverTLS())) }
		}, "websocket", "no answer"},
		{"no TLS", func(*network) func(net.Conn) {
			return func(c net.Conn) {
				_, _ = c.Read(make([]byte, 1<<16)) // all of it, for a pipe keeps nothing
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad\r\n\r\n")
				_ = c.Close()
			}
		}, "tls", "does not look like a TLS handshake"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.put(webAddr, tt.serve(n))
				o := n.options()
				o.Mode = WebSocket
				_, err := New(o).Dial(t.Context(), Endpoint{Host: hubName})
				if e := refusedWith(t, err, tt.op, tt.text); !blocked(e) {
					t.Errorf("%v does not count as blocked", e)
				}
			})
		})
	}
}

// says is a TLS server that reads a request and answers with a text, once or without end.
func (n *network) says(text string, again bool) func(net.Conn) {
	return func(c net.Conn) {
		s := tls.Server(c, n.serverTLS())
		_, _ = s.Read(make([]byte, 4096))
		_, err := s.Write([]byte(text))
		for again && err == nil {
			_, err = s.Write(make([]byte, 4096))
		}
		_ = s.Close()
	}
}

// Whether the other port may help depends on what the failure is about.
func TestBlocked(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errors.New("connection refused"))}
	for _, tt := range []struct {
		op   string
		err  error
		want bool
	}{
		{"dial", refused, true},
		{"dial", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "h"}}, false},
		{"proxy", refused, false},
		{"proxy", ErrProxyAuth, false},
		{"proxy", &statusError{403}, true},
		{"tls", &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, true},
		{"tls", &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, false},
		{"tls", x509.UnknownAuthorityError{}, false},
		{"tls", &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}}, false},
	} {
		if got := blocked(failed(tt.op, "h:1", tt.err)); got != tt.want {
			t.Errorf("%s, %v: blocked %t", tt.op, tt.err, got)
		}
	}
	if blocked(errors.New("something else")) {
		t.Error("any error counts as blocked")
	}
	if got := failed("dial", "h:5671", refused).Error(); got != "dial h:5671: connect: connection refused" {
		t.Errorf("got %s", got)
	}
}

// A deadline ends a read and a write of both kinds of connection, and says that it was one.
func TestDeadlines(t *testing.T) {
	for _, mode := range []Mode{AMQPS, WebSocket} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.put(plainAddr, n.echo)
				n.put(webAddr, n.https(webSocketEcho))
				o := n.options()
				o.Mode = mode
				c := dialed(t, New(o), Endpoint{Host: hubName})
				if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
				talk(t, c, 100)
				if err := c.SetDeadline(time.Time{}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				talk(t, c, 100)

				start := time.Now()
				if err := c.SetReadDeadline(start.Add(30 * time.Second)); err != nil {
					t.Fatal(err)
				}
				_, err := c.Read(make([]byte, 1))
				if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 30*time.Second {
					t.Errorf("read ended with %v after %s", err, time.Since(start))
				}

				c = dialed(t, New(o), Endpoint{Host: hubName})
				start = time.Now()
				if err := c.SetWriteDeadline(start.Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
				for err = nil; err == nil; { // what nobody reads comes back, so that the peer stops reading
					_, err = c.Write(make([]byte, 4096))
				}
				if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 20*time.Second {
					t.Errorf("write ended with %v after %s", err, time.Since(start))
				}
			})
		})
	}
}

// A peer that is gone without a word does not hold up Close for longer than a second, not even when a write is waiting.
func TestCloseIsBounded(t *testing.T) {
	for _, busy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t)
			n.put(webAddr, n.deaf)
			o := n.options()
			o.Mode = WebSocket
			c := dialed(t, New(o), Endpoint{Host: hubName})
			if busy {
				go func() { _, _ = c.Write(make([]byte, 100_000)) }()
				synctest.Wait()
			}
			start := time.Now()
			_ = c.Close() // whatever it says
			if took := time.Since(start); took > closeLimit {
				t.Errorf("busy %t: Close took %s", busy, took)
			}
		})
	}
}

// deaf opens a WebSocket and never reads from it.
func (n *network) deaf(c net.Conn) {
	s := tls.Server(c, n.serverTLS())
	if r, err := http.ReadRequest(bufio.NewReader(s)); err == nil {
		_, _ = io.WriteString(s, switching(r))
	}
}

func TestText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		_, err := New(n.options()).Dial(t.Context(), Endpoint{Host: hubName})
		want := "dial hub.test:5671: connect: connection refused; and dial hub.test:443: connect: connection refused"
		if err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		n.put(webAddr, silent)
		_, err = New(n.options()).Dial(t.Context(), Endpoint{Host: hubName})
		if want := "and tls hub.test:443: no answer: context deadline exceeded"; !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
}
