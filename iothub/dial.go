package iothub

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	amqp "github.com/Azure/go-amqp"

	"iotagent/internal/clock"
	"iotagent/iothub/sas"
	"iotagent/iothub/transport"
)

const (
	// dialTimeout bounds the whole of Dial, so that a peer which accepts and says nothing is noticed.
	dialTimeout = 60 * time.Second
	// idleTimeout is how long the hub may be silent. The library announces half of it, so that the hub says something that often.
	idleTimeout = 45 * time.Second
	// writeTimeout is how long the network may refuse to take a frame.
	writeTimeout = 20 * time.Second
	// apiVersion is sent on the links, as Microsoft's device clients do.
	apiVersion = "2021-04-12"
)

// Dial connects a device to its hub: transport, proof of identity, telemetry link, command link. The client lives until Done is closed, independent of
// ctx, which bounds only the dialling. Whatever happened to it, Close must be called.
func Dial(ctx context.Context, opts *Options) (*Client, error) {
	c, err := newClient(ctx, opts)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stop := context.AfterFunc(c.ctx, cancel) //nolint:contextcheck // a link may be lost while others are being made
	defer stop()
	if err := c.open(ctx); err != nil {
		if lost := context.Cause(c.ctx); lost != nil { //nolint:contextcheck // as above
			err = lost
		}
		e := failure("dial", err)
		c.fail(e)
		_ = c.Close(ctx) // e says what happened
		return nil, e
	}
	return c, nil
}

func newClient(ctx context.Context, opts *Options) (*Client, error) {
	if opts == nil || opts.Host == "" || opts.DeviceID == "" {
		return nil, &Error{Op: "dial", Class: ClassProtocol, Err: errors.New("host and device id are required")}
	}
	o := *opts
	o.Auth = cmp.Or(o.Auth, AuthSAS)
	o.Port = cmp.Or(o.Port, 5671)
	o.TokenTTL = cmp.Or(o.TokenTTL, time.Hour)
	o.CBSTimeout = cmp.Or(o.CBSTimeout, 30*time.Second)
	o.SettleTimeout = cmp.Or(o.SettleTimeout, 45*time.Second)
	o.KeepAlive = cmp.Or(o.KeepAlive, 30*time.Second)
	o.Credit = cmp.Or(o.Credit, 8)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Auth != AuthX509 && o.Key.IsZero() && o.Token == "" {
		return nil, &Error{Op: "dial", Class: ClassAuth, Err: errors.New("neither a key nor a token to connect with")}
	}
	c := &Client{o: o, born: time.Now().Add(-1), turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), telemetry: newLine(Telemetry)}
	if !o.TelemetryOnly {
		c.command = newLine(Command)
	}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.gate = newGate(c.telemetrySettled)
	return c, nil
}

// open makes the parts of the connection, in the order that the hub wants: identity first, then telemetry, then commands.
func (c *Client) open(ctx context.Context) error {
	if now := c.o.Now(); !clock.Plausible(now) {
		return &Error{
			Op: "dial", Class: ClassClock, Err: fmt.Errorf("this machine's clock says %s, which cannot be", now.UTC().Format(time.RFC3339)),
			Hint: "wait for the time service or set the clock: tokens and certificates are judged by it",
		}
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	c.wg.Go(c.supervise)
	if c.o.Auth == AuthSAS {
		if err := c.login(ctx); err != nil {
			return err
		}
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	for _, l := range c.lines() {
		if err := c.attach(ctx, l); err != nil {
			return err
		}
	}
	c.mu.Lock()
	if c.command == nil {
		c.healthLocked(Command, func(h *Health) { h.Phase = Unused })
	}
	if c.o.Auth == AuthX509 {
		c.healthLocked(Token, func(h *Health) { h.Phase = Unused })
	}
	c.mu.Unlock()
	c.inspectConnection()
	c.wg.Go(c.keep)
	if c.o.Auth != AuthX509 {
		c.wg.Go(c.renewal)
	}
	return nil
}

// handshake makes the connection: bare, as Microsoft's clients do, and once more with a SASL layer where the peer insists on one.
func (c *Client) handshake(ctx context.Context) error {
	options := &amqp.ConnOptions{
		HostName: hostOnly(c.o.Host), ContainerID: linkName("iotagent"), IdleTimeout: idleTimeout, WriteTimeout: writeTimeout, MaxFrameSize: maxFrame,
	}
	if c.o.Auth == AuthSASPlain {
		var err error
		if options.SASLType, err = c.plainLogin(); err != nil {
			return err
		}
	}
	err := c.openConn(ctx, options)
	if err == nil || options.SASLType != nil || c.wire == nil || !c.wire.saslAsked.Load() {
		return err
	}
	options.SASLType = amqp.SASLTypeAnonymous()
	if c.o.Auth == AuthX509 {
		options.SASLType = amqp.SASLTypeExternal("")
	}
	return c.openConn(ctx, options)
}

func (c *Client) openConn(ctx context.Context, options *amqp.ConnOptions) error {
	transport, err := c.transport(ctx)
	if err != nil {
		return err
	}
	c.wire = newWire(transport, &watch{gate: c.gate, lost: c.linkLost, heard: c.linkHeard, broken: func(err error) { c.fail(protocolError(err)) }})
	if c.conn, err = amqp.NewConn(ctx, c.wire, options); err != nil {
		_ = transport.Close() // the reason is err
		return failure("open", err)
	}
	return nil
}

// transport makes the byte stream: TLS over TCP, to the gateway if there is one.
func (c *Client) transport(ctx context.Context) (net.Conn, error) {
	host, port := splitPort(cmp.Or(c.o.Gateway, c.o.Host))
	addr := net.JoinHostPort(host, cmp.Or(port, strconv.Itoa(c.o.Port)))
	if c.o.Dial != nil {
		n, _ := strconv.Atoi(port) // 0: the transport's own
		conn, err := c.o.Dial(ctx, transport.Endpoint{Host: host, Port: cmp.Or(n, c.o.Port), Name: host})
		if err != nil {
			return nil, failure("dial", err)
		}
		return conn, nil
	}
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 25 * time.Second, Interval: 10 * time.Second, Count: 3},
		Control:         giveUpAfter(30 * time.Second),
	}
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, failure("dial", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.o.TLS != nil {
		config = c.o.TLS.Clone()
		config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	}
	config.ServerName = host
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error is the one to report
		return nil, failure("tls", err)
	}
	return conn, nil
}

func (c *Client) address(node string) string {
	a := "/devices/" + url.PathEscape(c.o.DeviceID)
	if c.o.ModuleID != "" {
		a += "/modules/" + url.PathEscape(c.o.ModuleID)
	}
	return a + "/" + node
}

// resource is what this device's tokens are made for.
func (c *Client) resource() string {
	return sas.Resource(hostOnly(c.o.Host), c.o.DeviceID, c.o.ModuleID)
}

// plainLogin returns the SASL PLAIN exchange: the short name of the hub in the user, a token for a password.
func (c *Client) plainLogin() (amqp.SASLType, error) {
	t, err := c.mint()
	if err != nil {
		return nil, err
	}
	user := url.PathEscape(c.o.DeviceID)
	if c.o.ModuleID != "" {
		user += "/modules/" + url.PathEscape(c.o.ModuleID)
	}
	hub, _, _ := strings.Cut(hostOnly(c.o.Host), ".")
	c.accepted(t)
	return amqp.SASLTypePlain(user+"@sas."+hub, t.text), nil
}

// linkName returns a name never used before: a hub may still hold the link of a connection that broke.
func linkName(purpose string) string { return purpose + "-" + rand.Text() }

func splitPort(s string) (host, port string) {
	if host, port, err := net.SplitHostPort(s); err == nil {
		return host, port
	}
	return s, ""
}

func hostOnly(s string) string {
	host, _ := splitPort(s)
	return host
}
