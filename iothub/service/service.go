// Package service is the cloud side of Azure IoT Hub. Over AMQP 1.0 it sends commands to devices, receives the feedback of their outcomes
// and follows telemetry; over HTTPS it manages devices and their twins and calls their methods. It serves hubctl; iotagent does not use it.
package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/internal/backoff"
	"iotagent/iothub"
	"iotagent/iothub/sas"
)

// Options says which hub to serve.
type Options struct {
	// Connection is a service connection string: HostName (a port is allowed), SharedAccessKeyName, SharedAccessKey.
	Connection sas.ConnectionString
	// Auth is how to sign in; "" means AuthCBS.
	Auth Auth
	// HTTPS is the address ("localhost:8443") of the hub's REST API, which devices, twins and methods are managed through; "" means the hub's
	// name and port 443.
	HTTPS string
	// TLS holds the roots; nil means the system's. The server name is set by the package.
	TLS *tls.Config
	// Dial makes the transport, TLS included, for both protocols; nil dials TCP with TLS. Tests pass an in-memory pipe.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Now is the clock that tokens expire by; default time.Now.
	Now func() time.Time
}

// Client talks to one hub. It opens connections as its calls need them; a call that fails leaves nothing open. It may be used concurrently.
type Client struct {
	o    Options
	host string // without the port
	addr string // to dial
}

// openTimeout is how long a hub may take to accept a connection, TLS and SASL included; from then on the idle timeout watches over it.
const openTimeout = 60 * time.Second

// defaultPort is AMQP over TLS.
const defaultPort = "5671"

// New checks the options; it does no I/O.
func New(o *Options) (*Client, error) {
	c := &Client{o: *o}
	if c.o.Now == nil {
		c.o.Now = time.Now
	}
	cs := c.o.Connection
	switch {
	case c.o.Auth != "" && c.o.Auth != AuthCBS && c.o.Auth != AuthPlain:
		return nil, fmt.Errorf("auth %q: want %s or %s", c.o.Auth, AuthCBS, AuthPlain)
	case cs.HostName == "":
		return nil, errors.New("connection string: HostName is missing")
	case cs.SharedAccessKeyName == "" || cs.Key.IsZero():
		return nil, errors.New("connection string: this is not a service's (SharedAccessKeyName and SharedAccessKey are missing); the portal shows it under shared access policies, hubsim writes service.connection-string")
	}
	c.host, c.addr = splitAddr(cs.HostName)
	if c.o.HTTPS == "" {
		c.o.HTTPS = net.JoinHostPort(c.host, "443")
	}
	if _, _, err := net.SplitHostPort(c.o.HTTPS); err != nil {
		return nil, fmt.Errorf("address of the REST API: %w", err)
	}
	return c, nil
}

// splitAddr returns the name and the address to dial of a host with an optional port.
func splitAddr(hostport string) (host, addr string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = strings.Trim(hostport, "[]"), defaultPort
	}
	return host, net.JoinHostPort(host, port)
}

// Host returns the hub's name.
func (c *Client) Host() string { return c.host }

// hubConn opens a connection to the hub itself (Microsoft, "Communicate with your IoT hub by using the AMQP protocol").
func (c *Client) hubConn(ctx context.Context) (*conn, error) {
	s := c.hubSignature()
	if c.o.Auth != AuthPlain {
		return c.open(ctx, c.host, c.addr, amqp.SASLTypeAnonymous(), s)
	}
	short, _, _ := strings.Cut(c.host, ".")
	return c.open(ctx, c.host, c.addr, amqp.SASLTypePlain(s.policy+"@sas.root."+short, s.token(plainLife)), nil)
}

// eventsConn opens a connection to the Event Hubs-compatible endpoint that a redirect named.
func (c *Client) eventsConn(ctx context.Context, r redirect) (*conn, error) {
	if c.o.Auth != AuthPlain {
		return c.open(ctx, r.hostname, r.addr, amqp.SASLTypeAnonymous(), c.eventsSignature(r.hostname, r.entity))
	}
	cs := c.o.Connection
	return c.open(ctx, r.hostname, r.addr, amqp.SASLTypePlain(cs.SharedAccessKeyName, cs.Key.Text()), nil)
}

// open connects and signs in: by SASL alone or, where signs is not nil, with tokens. Some peers insist on a SASL layer for that too, all know ANONYMOUS.
func (c *Client) open(ctx context.Context, host, addr string, login amqp.SASLType, signs *signature) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	raw, err := c.dial(ctx, host, addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	wire, err := amqp.NewConn(ctx, iothub.Mend(raw), &amqp.ConnOptions{HostName: host, SASLType: login})
	if err != nil {
		_ = raw.Close() // the reason is err
		return nil, fmt.Errorf("open %s: %w", addr, explain(err))
	}
	opened := &conn{Conn: wire, stop: func() {}}
	if signs != nil {
		if err := opened.signIn(ctx, signs); err != nil {
			opened.close()
			return nil, fmt.Errorf("sign in to %s: %w", addr, err)
		}
	}
	return opened, nil
}

func (c *Client) dial(ctx context.Context, host, addr string) (net.Conn, error) {
	if c.o.Dial != nil {
		return c.o.Dial(ctx, addr)
	}
	d := tls.Dialer{NetDialer: &net.Dialer{KeepAlive: 25 * time.Second}, Config: c.tls(host)}
	return d.DialContext(ctx, "tcp", addr)
}

// persist runs once again and again until it is done, ctx ends, or an error comes that will not go away by itself. Lost, which may be nil, hears of
// the others. What was refused after it had worked for a while is tried again: a connection ends with its token.
func persist(ctx context.Context, lost func(err error, retryIn time.Duration), once func(context.Context) (done bool, err error)) error {
	wait := backoff.Backoff{Floor: 500 * time.Millisecond, Cap: 30 * time.Second}
	for {
		started := time.Now()
		done, err := once(ctx)
		stable := time.Since(started) > time.Minute
		switch {
		case ctx.Err() != nil && !done:
			return nil // the caller ended it
		case done || (final(err) && !stable):
			return err
		case stable:
			wait.Reset()
		}
		d := wait.Next()
		if lost != nil {
			lost(err, d)
		}
		if backoff.Sleep(ctx, d) != nil {
			return nil //nolint:nilerr // the caller ended it
		}
	}
}
