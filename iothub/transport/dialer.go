package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"time"
)

// Mode says which way a Dialer takes.
type Mode string

// The ways; the zero value means Auto.
const (
	AMQPS     Mode = "amqps"     // TLS on port 5671
	WebSocket Mode = "websocket" // in a WebSocket on port 443
	Auto      Mode = "auto"      // AMQPS first, WebSocket where that is blocked, and what worked is remembered
)

// Options says how to connect.
type Options struct {
	// Mode defaults to Auto.
	Mode Mode
	// AMQPSPort is dialled where an Endpoint names no port; default 5671.
	AMQPSPort int
	// WebSocketPort is dialled for WebSocket whatever port an Endpoint names, because that one is of AMQPS; default 443.
	WebSocketPort int
	// TLS holds the roots to trust; nil means the system's. The server name is set by Dial, and the version is 1.2 at least.
	TLS *tls.Config
	// Certificate is asked for the client's certificate at each handshake in which the server wants one; nil means that there is none. The private key
	// may be any crypto.Signer: one in a PKCS#11 token or a TPM comes in here.
	Certificate func() (*tls.Certificate, error)
	// Proxy returns the proxy for a host and port, nil for none; see FixedProxy and EnvironmentProxy. A nil Proxy means that there is none. User and
	// password stand in the URL; they are never shown.
	Proxy func(host string, port int) (*url.URL, error)
	// KeepAlive is how long a connection may be idle; TCP's own probes begin after five sixths of it. Default 30 s.
	KeepAlive time.Duration
	// StateFile is where Auto remembers what worked, over restarts; "" means in memory only.
	StateFile string
	// Now is the wall clock; default time.Now.
	Now func() time.Time
	// DialTCP makes the connections below TLS; nil means TCP itself: names asked at every call, the address families side by side (RFC 8305).
	DialTCP func(ctx context.Context, network, addr string) (net.Conn, error)
	// Logger defaults to a discarding one.
	Logger *slog.Logger
}

// The bounds of one way. What is remembered to be blocked is not waited for long.
const (
	wayLimit   = 15 * time.Second
	retryLimit = 5 * time.Second
	lastLimit  = 40 * time.Second
)

// Dialer connects to hubs. Use New. Its methods may be called from any goroutine.
type Dialer struct {
	o      Options
	memory *memory
}

// New returns a Dialer; nil means defaults. A state file that cannot be read is the same as none.
func New(o *Options) *Dialer {
	d := &Dialer{}
	if o != nil {
		d.o = *o
	}
	d.o.Mode = cmp.Or(d.o.Mode, Auto)
	d.o.AMQPSPort = cmp.Or(d.o.AMQPSPort, 5671)
	d.o.WebSocketPort = cmp.Or(d.o.WebSocketPort, 443)
	d.o.KeepAlive = cmp.Or(d.o.KeepAlive, 30*time.Second)
	if d.o.Now == nil {
		d.o.Now = time.Now
	}
	if d.o.Logger == nil {
		d.o.Logger = slog.New(slog.DiscardHandler)
	}
	if d.o.DialTCP == nil {
		d.o.DialTCP = tcpDialer(d.o.KeepAlive).DialContext
	}
	d.memory = newMemory(d.o.StateFile, d.o.Now, d.o.Logger)
	return d
}

var _ DialFunc = (*Dialer)(nil).Dial

// Dial connects to a hub. The connection is a Conn and lives until it is closed, independent of ctx; an expired deadline ends it. The error is an *Error.
//
// In mode Auto a way that is blocked (refused, no answer, unreachable, a proxy that does not let it through) leads to the other one in the same call.
func (d *Dialer) Dial(ctx context.Context, to Endpoint) (net.Conn, error) {
	c, err := d.dial(ctx, to)
	if err != nil { // never a nil *Error in an error
		return nil, err
	}
	return c, nil
}

func (d *Dialer) dial(ctx context.Context, to Endpoint) (*conn, *Error) {
	if d.o.Mode != Auto {
		return d.attempt(ctx, d.o.Mode, to, lastLimit)
	}
	mode, limit := d.memory.first(to.Host)
	c, err := d.attempt(ctx, mode, to, limit)
	if err == nil || ctx.Err() != nil || !blocked(err) {
		return c, err
	}
	c, second := d.attempt(ctx, mode.other(), to, lastLimit)
	if second != nil {
		return nil, neither(err, second)
	}
	return c, nil
}

func (m Mode) other() Mode {
	if m == AMQPS {
		return WebSocket
	}
	return AMQPS
}

// neither makes one error of both ways'. The one that says more than that nobody answers comes first.
func neither(first, second *Error) *Error {
	if !blocked(second) {
		first, second = second, first
	}
	return &Error{Op: first.Op, Addr: first.Addr, Err: fmt.Errorf("%w; and %w", first.Err, second)}
}

// attempt goes one way.
func (d *Dialer) attempt(ctx context.Context, mode Mode, to Endpoint, limit time.Duration) (*conn, *Error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	port := cmp.Or(to.Port, d.o.AMQPSPort)
	if mode == WebSocket {
		port = d.o.WebSocketPort
	}
	c := &conn{mode: mode, via: string(mode), host: to.Host, memory: d.memory}
	if err := d.secure(ctx, c, to, port); err != nil {
		return nil, err
	}
	if mode == WebSocket {
		if err := d.upgrade(ctx, c, to, port); err != nil {
			_ = c.base.Close() // err says what happened
			return nil, err
		}
	}
	return c, nil
}

// secure connects, through the proxy if there is one, and makes TLS.
func (d *Dialer) secure(ctx context.Context, c *conn, to Endpoint, port int) *Error {
	addr := net.JoinHostPort(to.Host, strconv.Itoa(port))
	proxy, err := d.proxy(to.Host, port)
	if err != nil {
		return failed("proxy", addr, err)
	}
	if proxy != nil {
		c.via += " through " + proxy.Host
		var failure *Error
		if c.base, failure = d.tunnel(ctx, proxy, addr); failure != nil {
			return failure
		}
	} else if c.base, err = d.o.DialTCP(ctx, "tcp", addr); err != nil {
		return failed("dial", addr, err)
	}
	secured := tls.Client(c.base, d.tlsConfig(cmp.Or(to.Name, to.Host), c.mode))
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = c.base.Close() // the handshake's error is the one to report
		return failed("tls", addr, err)
	}
	c.Conn = secured
	return nil
}

func (d *Dialer) tlsConfig(name string, mode Mode) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if d.o.TLS != nil {
		config = d.o.TLS.Clone()
		config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	}
	config.ServerName = name
	if mode == WebSocket {
		config.NextProtos = []string{"http/1.1"} // HTTP/2 has no upgrade
	}
	if d.o.Certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return d.o.Certificate() }
	}
	return config
}
