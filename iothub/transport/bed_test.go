package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const hubName = "hub.test"

// pemPair makes a self-signed certificate for a name and its key, as PEM.
func pemPair(t *testing.T, name string, until time.Time) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.Add(-365 * 24 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// network is a network in memory: what answers at an address, and what was dialled.
type network struct {
	t     *testing.T
	roots *x509.CertPool
	own   tls.Certificate // of hubName
	leave chan struct{}   // closed to make untilLeave go

	mu     sync.Mutex
	at     map[string]func(server net.Conn) // by "host:port"; nothing there: refused
	dialed []string
	wg     sync.WaitGroup
	open   []net.Conn
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	certPEM, keyPEM := pemPair(t, hubName, time.Now().AddDate(0, 11, 0))
	own, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{t: t, roots: x509.NewCertPool(), own: own, leave: make(chan struct{}), at: map[string]func(net.Conn){}}
	n.roots.AppendCertsFromPEM(certPEM)
	t.Cleanup(func() {
		for _, c := range n.open {
			_ = c.Close() // many are closed already
		}
		n.wg.Wait()
	})
	return n
}

// put sets what answers at an address; nil refuses.
func (n *network) put(addr string, serve func(net.Conn)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at[addr] = serve
}

// dial is Options.DialTCP.
func (n *network) dial(_ context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialed = append(n.dialed, addr)
	serve := n.at[addr]
	if serve == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	near, a := net.Pipe()
	b, far := net.Pipe()
	n.open = append(n.open, near, a, b, far)
	n.wg.Go(func() { _, _ = io.Copy(b, a); _ = b.Close() })
	n.wg.Go(func() { n.buffer(a, b); _ = a.Close() })
	n.wg.Go(func() { serve(far) })
	return near, nil
}

// buffer copies and, unlike a pipe, takes something before it is read: a TLS server's flight, of which the client reads a part and then objects.
func (n *network) buffer(to, from net.Conn) {
	chunks := make(chan []byte, 16)
	n.wg.Go(func() {
		defer close(chunks)
		for {
			p := make([]byte, 4096)
			k, err := from.Read(p)
			if err != nil {
				return
			}
			chunks <- p[:k]
		}
	})
	for p := range chunks {
		if _, err := to.Write(p); err != nil {
			_ = from.Close() // the reader's end
		}
	}
}

// took returns the addresses dialled since the last call.
func (n *network) took() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := strings.Join(n.dialed, " ")
	n.dialed = nil
	return all
}

func (n *network) options() *Options {
	return &Options{TLS: &tls.Config{RootCAs: n.roots}, DialTCP: n.dial}
}

func (n *network) serverTLS() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{n.own}} }

// echo serves TLS, and sends everything back.
func (n *network) echo(c net.Conn) {
	s := tls.Server(c, n.serverTLS())
	_, _ = io.Copy(s, s)
	_ = s.Close() // the client sees that
}

// silent accepts and says nothing.
func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// https serves HTTP behind TLS.
func (n *network) https(h http.HandlerFunc) func(net.Conn) {
	return func(c net.Conn) { serveOne(tls.Server(c, n.serverTLS()), h) }
}

// serveOne serves HTTP on one connection, until it ends.
func serveOne(c net.Conn, h http.Handler) {
	ended := make(chan struct{})
	l := &oneListener{c: make(chan net.Conn, 1), ended: ended}
	l.c <- &endConn{Conn: c, end: sync.OnceFunc(func() { close(ended) })}
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	_ = srv.Serve(l) // ends with the connection
}

type oneListener struct {
	c     chan net.Conn
	ended chan struct{}
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.c:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}
func (l *oneListener) Close() error   { return nil }
func (l *oneListener) Addr() net.Addr { return &net.TCPAddr{} }

type endConn struct {
	net.Conn
	end func()
}

func (c *endConn) Close() error {
	c.end()
	return c.Conn.Close()
}

// webSocketEcho is a WebSocket for AMQP that sends everything back.
func webSocketEcho(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
	if err != nil {
		return
	}
	c := websocket.NetConn(context.WithoutCancel(r.Context()), ws, websocket.MessageBinary)
	_, _ = io.Copy(c, c)
	_ = c.Close() // after a farewell from the client
}

// untilLeave is a WebSocket that says nothing, and goodbye.
func (n *network) untilLeave(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
	if err != nil {
		return
	}
	ctx := ws.CloseRead(context.WithoutCancel(r.Context()))
	select {
	case <-n.leave:
	case <-ctx.Done():
	}
	_ = ws.Close(websocket.StatusGoingAway, "") // the client may be gone
}

func dialed(t *testing.T, d *Dialer, to Endpoint) Conn {
	t.Helper()
	c, err := d.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // most tests close it themselves
	return c.(Conn)
}

// talk sends something and wants it back.
func talk(t *testing.T, c net.Conn, size int) {
	t.Helper()
	out := make([]byte, size)
	if _, err := rand.Read(out); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(out)
		sent <- err
	}()
	in := make([]byte, size)
	_, err := io.ReadFull(c, in)
	if err := errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
	if string(in) != string(out) {
		t.Error("other bytes came back")
	}
}

// refusedWith checks step and text of an error, and that it shows no password.
func refusedWith(t *testing.T, err error, op, text string) *Error {
	t.Helper()
	e, ok := err.(*Error) //nolint:errorlint // the contract is that type
	if !ok {
		t.Fatalf("got %T %v, want an *Error", err, err)
	}
	if e.Op != op || !strings.Contains(e.Error(), text) {
		t.Errorf("got %q (%s), want %s with %q", e, e.Op, op, text)
	}
	if strings.Contains(e.Error(), "pa55") {
		t.Errorf("%q shows the password", e)
	}
	return e
}

func parse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}
