package hubsim_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/coder/websocket"

	"iotagent/hubsim"
)

// web is a hub's HTTPS side on loopback, and a client of it.
type web struct {
	*bed
	addr   string
	client *http.Client
}

// serveWeb starts the HTTPS side; certs are the client's.
func (b *bed) serveWeb(certs ...tls.Certificate) *web {
	b.t.Helper()
	l, err := b.ListenHTTPS(b.t.Context(), "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	served := make(chan error, 1)
	go func() { served <- b.ServeHTTPS(ctx, l) }()
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: b.CertPool(), ServerName: "localhost", MinVersion: tls.VersionTLS12, Certificates: certs,
	}}
	b.t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-served; err != nil {
			b.t.Errorf("ServeHTTPS ended with %v", err)
		}
	})
	return &web{b, l.Addr().String(), &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// reply is an HTTP answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (w *web) do(method, path, policy, body string, header ...string) reply {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "https://"+w.addr+path, bytes.NewReader([]byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	if policy != "" {
		r.Header.Set("Authorization", w.policyToken(policy, time.Hour))
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{answer.StatusCode, answer.Header, data}
}

// object decodes an answer that must have this status.
func (w *web) object(want int, r reply) map[string]any {
	w.t.Helper()
	if r.status != want {
		w.t.Fatalf("status %d, want %d; %s", r.status, want, r.body)
	}
	var o map[string]any
	if err := json.Unmarshal(r.body, &o); err != nil {
		w.t.Fatalf("%s: %v", r.body, err)
	}
	return o
}

// failed holds an answer against the shape of the API's errors.
func (w *web) failed(status int, name string, r reply) {
	w.t.Helper()
	o := w.object(status, r)
	text, _ := o["Message"].(string)
	if r.header.Get("iothub-errorcode") != name || !strings.HasPrefix(text, "ErrorCode:"+name+";") {
		w.t.Errorf("got %q, %v; want %s", r.header.Get("iothub-errorcode"), o, name)
	}
	if text, _ := o["ExceptionMessage"].(string); !strings.HasPrefix(text, "Tracking ID:") {
		w.t.Errorf("ExceptionMessage %q", text)
	}
}

// dialWeb opens the byte stream of AMQP over WebSocket.
func (w *web) dialWeb(query string) net.Conn {
	w.t.Helper()
	ws, answer, err := websocket.Dial(stepContext(w.t), "wss://"+w.addr+"/$iothub/websocket"+query, &websocket.DialOptions{ //nolint:bodyclose // the library closes it
		HTTPClient: w.client, Subprotocols: []string{"AMQPWSB10"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if answer.StatusCode != 101 || ws.Subprotocol() != "AMQPWSB10" {
		w.t.Errorf("status %d, subprotocol %q", answer.StatusCode, ws.Subprotocol())
	}
	w.t.Cleanup(func() { _ = ws.CloseNow() })
	return websocket.NetConn(w.t.Context(), ws, websocket.MessageBinary)
}

// slicer sends its bytes one or a few at a time, each piece as a WebSocket message of its own.
type slicer struct{ net.Conn }

func (s slicer) Write(p []byte) (int, error) {
	for i := 0; i < len(p); {
		n, err := s.Conn.Write(p[i:min(len(p), i+1+i%7)])
		if err != nil {
			return i, err
		}
		i += n
	}
	return len(p), nil
}

func TestAMQPOverWebSocket(t *testing.T) {
	w := newBed(t, nil).serveWeb()
	c := openClient(t, slicer{w.dialWeb("?iothub-no-client-cert=true")}, nil)
	c.authorize(w.deviceToken(time.Hour))
	accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage([]byte("in pieces"))))

	c = openClient(t, w.dialWeb(""), amqp.SASLTypePlain("pi-17@sas.localhost", w.deviceToken(time.Hour)))
	s := c.sender(eventsAddress)
	accepted(t, c.send(s, amqp.NewMessage(make([]byte, 200_000))))
	if n := len(w.Events()[1].Data()); n != 200_000 {
		t.Errorf("%d bytes arrived", n)
	}
	w.DropConnections()
	select {
	case <-c.conn.Done():
	case <-time.After(20 * time.Second):
		t.Error("the connection was not cut")
	}
}

func TestWebSocketEndsWithTheServer(t *testing.T) {
	w := newBed(t, nil).serveWeb()
	c := openClient(t, w.dialWeb(""), nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	<-c.conn.Done()
}

func TestWebSocketHandshakeRefusals(t *testing.T) {
	w := newBed(t, nil).serveWeb()
	handshake := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	for name, tc := range map[string]struct {
		header []string
		want   int
	}{
		"mqtt":             {append(handshake, "Sec-WebSocket-Protocol", "mqtt"), 400},
		"no subprotocol":   {handshake, 400},
		"plain request":    {nil, 400},
		"no upgrade":       {[]string{"Sec-WebSocket-Protocol", "AMQPWSB10"}, 426},
		"of several":       {append(handshake, "Sec-WebSocket-Protocol", "mqtt, AMQPWSB10"), 101},
		"with page origin": {append(handshake, "Sec-WebSocket-Protocol", "AMQPWSB10", "Origin", "https://example.com"), 101},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+w.addr+"/$iothub/websocket", nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(tc.header); i += 2 {
				r.Header.Set(tc.header[i], tc.header[i+1])
			}
			answer, err := w.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != tc.want {
				t.Errorf("status %d, want %d", answer.StatusCode, tc.want)
			}
		})
	}
}

func TestATextMessageEndsTheWebSocket(t *testing.T) {
	w := newBed(t, nil).serveWeb()
	ws, _, err := websocket.Dial(stepContext(t), "wss://"+w.addr+"/$iothub/websocket", &websocket.DialOptions{ //nolint:bodyclose // the library closes it
		HTTPClient: w.client, Subprotocols: []string{"AMQPWSB10"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.Write(stepContext(t), websocket.MessageText, []byte("AMQP\x00\x01\x00\x00")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.Read(stepContext(t)); websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
		t.Errorf("got %v, want a close with status 1003", err)
	}
}

func TestEveryAnswerHasTheHubsTime(t *testing.T) {
	now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	w := newBed(t, &hubsim.Options{Now: func() time.Time { return now }})
	// The hub's certificate is of its own time, and so must the client's be.
	web := w.serveWeb()
	web.client.Transport.(*http.Transport).TLSClientConfig.Time = func() time.Time { return now }
	for _, path := range []string{"/", "/devices/pi-17", "/$iothub/websocket"} {
		if got := web.do("GET", path, "", "").header.Get("Date"); got != "Mon, 03 Feb 2031 04:05:06 GMT" {
			t.Errorf("%s: Date %q", path, got)
		}
	}
}

func TestHTTPSFaults(t *testing.T) {
	b := newBed(t, nil)
	w := b.serveWeb()
	get := func() error {
		w.client.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+w.addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := w.client.Do(r)
		if err == nil {
			_ = answer.Body.Close()
		}
		return err
	}
	b.RefuseConnections(true)
	if err := get(); err == nil {
		t.Error("a hub that refuses connections took one")
	}
	b.RefuseConnections(false)
	if err := get(); err != nil {
		t.Error(err)
	}
	b.BlackHole(true)
	w.client.Timeout = 300 * time.Millisecond
	if err := get(); err == nil {
		t.Error("a black hole answered")
	}
}
