package transport

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// proxy serves CONNECT to what stands in the network, for a user when one is named.
func (n *network) proxy(user string) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close() //nolint:errcheck // the client sees that
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		want := ""
		if user != "" {
			want = "Basic " + base64.StdEncoding.EncodeToString([]byte(user))
		}
		answer := func(line string) { _, _ = io.WriteString(c, "HTTP/1.1 "+line+"\r\n\r\n") }
		switch {
		case req.Method != http.MethodConnect || req.Host != req.URL.Host:
			answer("400 Bad Request")
			return
		case req.Header.Get("Proxy-Authorization") != want:
			answer("407 Proxy Authentication Required")
			return
		}
		hub, err := n.dial(req.Context(), "tcp", req.Host)
		if err != nil {
			answer("502 Bad Gateway")
			return
		}
		answer("200 Connection established")
		n.wg.Go(func() { _, _ = io.Copy(hub, r); _ = hub.Close() })
		_, _ = io.Copy(c, hub)
	}
}

func (n *network) tlsProxy(user string) func(net.Conn) {
	return func(c net.Conn) { n.proxy(user)(tls.Server(c, n.serverTLS())) }
}

// switching is the head of the answer that opens a WebSocket.
func switching(r *http.Request) string {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: " + subprotocol +
		"\r\nSec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
}

// answers is a proxy with one answer for everybody.
func answers(text string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, text)
		}
		_ = c.Close()
	}
}

func TestProxyRefuses(t *testing.T) {
	const at = "http://u:pa55@proxy.test:3128"
	for _, tt := range []struct {
		name, proxy string
		serve       func(n *network) func(net.Conn)
		text        string
		auth, other bool // ErrProxyAuth; worth the other port
	}{
		{"user wanted", "http://proxy.test:3128", func(n *network) func(net.Conn) { return n.proxy("u:pa55") }, "set proxy_credentials_file", true, false},
		{"another user", "http://u:pa55word@proxy.test:3128", func(n *network) func(net.Conn) { return n.proxy("u:pa55") }, "check name and password in proxy_credentials_file", true, false},
		{"port not allowed", at, func(*network) func(net.Conn) { return answers("HTTP/1.1 403 Forbidden\r\n\r\n") }, "HTTP status 403: it does not allow this port", false, true},
		{"no hub there", at, func(n *network) func(net.Conn) { return n.proxy("u:pa55") }, "HTTP status 502: it does not reach the hub", false, true},
		{"status of its own", at, func(*network) func(net.Conn) { return answers("HTTP/1.1 999 \x1b[2J\r\n\r\n") }, "HTTP status 999", false, true},
		{"no HTTP", at, func(*network) func(net.Conn) { return answers("SSH-2.0-OpenSSH_9.9\r\n\r\n") }, "malformed HTTP", false, false},
		{"endless head", at, func(*network) func(net.Conn) {
			return answers("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHeader))
		}, "too long", false, false},
		{"hangs up", at, func(*network) func(net.Conn) { return answers("") }, "EOF", false, false},
		{"talks first", at, func(*network) func(net.Conn) { return answers("HTTP/1.1 200 OK\r\n\r\nhello") }, "something of its own", false, false},
		{"says nothing", at, func(*network) func(net.Conn) { return silent }, "no answer", false, false},
		{"not there", at, func(*network) func(net.Conn) { return nil }, "proxy proxy.test:3128: connect: connection refused", false, false},
		{"secured by a stranger", "https://proxy.test:3128", func(n *network) func(net.Conn) { return n.tlsProxy("") }, "certificate is valid for hub.test, not proxy.test", false, false},
		{"another kind", "socks5://u:pa55@proxy.test:3128", func(*network) func(net.Conn) { return silent }, "want http://host:port", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.put("proxy.test:3128", tt.serve(n))
				o := n.options()
				o.Mode = AMQPS
				o.Proxy = FixedProxy(parse(t, tt.proxy))
				_, err := New(o).Dial(t.Context(), Endpoint{Host: hubName})
				e := refusedWith(t, err, "proxy", tt.text)
				if errors.Is(e, ErrProxyAuth) != tt.auth || blocked(e) != tt.other {
					t.Errorf("%v: auth %t, blocked %t", e, errors.Is(e, ErrProxyAuth), blocked(e))
				}
			})
		})
	}
}

// Many proxies let port 443 through and nothing else.
func TestAutoThroughProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.put(webAddr, n.https(webSocketEcho))
		n.put("proxy.test:3128", n.proxy("u:pa55"))
		o := n.options()
		o.Proxy = FixedProxy(parse(t, "http://u:pa55@proxy.test:3128"))
		c := dialed(t, New(o), Endpoint{Host: hubName})
		talk(t, c, 10)
		if c.Via() != "websocket through proxy.test:3128" {
			t.Errorf("via %q", c.Via())
		}
	})
}

func TestEnvironmentProxy(t *testing.T) {
	// The standard library looks at the environment once in a process; this is the only test that asks it.
	t.Setenv("HTTPS_PROXY", "http://u:pa55@proxy.test:3128")
	t.Setenv("NO_PROXY", "intern.test")
	for host, want := range map[string]string{hubName: "proxy.test:3128", "hub.intern.test": "", "localhost": ""} {
		u, err := EnvironmentProxy(host, 5671)
		if err != nil {
			t.Fatal(err)
		}
		if got := ""; u != nil {
			got = u.Host
			if got != want {
				t.Errorf("%s: got %q, want %q", host, got, want)
			}
		} else if want != "" {
			t.Errorf("%s: got none, want %q", host, want)
		}
	}
}

func FuzzProxyAnswer(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n\r\n")
	f.Add("HTTP/1.1 407 \r\nContent-Length: 5\r\n\r\nhello")
	f.Add("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
	d := New(nil)
	f.Fuzz(func(t *testing.T, answer string) {
		near, far := net.Pipe()
		go answers(answer)(far)
		c, err := d.connect(t.Context(), near, parse(t, "http://u:pa55@p.test:1"), "h:5671")
		if (c == nil) != (err != nil) {
			t.Errorf("got %v, %v", c, err)
		}
		if err != nil && strings.Contains(err.Error(), "pa55") && !strings.Contains(answer, "pa55") {
			t.Errorf("%v shows the password", err)
		}
		_ = near.Close()
	})
}
