package iothub

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	amqp "github.com/Azure/go-amqp"

	"iotagent/internal/clock"
	"iotagent/iothub/sas"
	"iotagent/iothub/transport"
)

const (
	// dialTimeout bounds the making of one connection, so that a peer which accepts and says nothing is noticed.
	dialTimeout = 60 * time.Second
	// idleTimeout is how long the hub may be silent. The library announces half of it, so that the hub says something that often.
	idleTimeout = 45 * time.Second
	// writeTimeout is how long the network may refuse to take a frame.
	writeTimeout = 20 * time.Second
	// defaultPort is that of AMQP over TLS.
	defaultPort = 5671
	// apiVersion is sent on the links, as Microsoft's device clients do.
	apiVersion = "2021-04-12"
)

// Dial connects a device to its hub: transport, proof of identity, telemetry link, command link. The client lives until Done is closed, independent of
// ctx, which bounds only the dialling. Whatever happened to it, Close must be called. Who dials more than once is better served by a Dialer.
func Dial(ctx context.Context, opts *Options) (*Client, error) { return NewDialer(opts).Dial(ctx) }

// connect makes one connection to a place.
func connect(ctx context.Context, opts *Options, at place, keys *keyring) (*Client, error) {
	c, err := newClient(ctx, opts)
	if err != nil {
		return nil, err
	}
	c.at, c.keys = at, keys
	c.health(Token, func(h *Health) {
		if h.Phase = Opening; c.o.Auth == AuthX509 {
			h.Phase = Unused
		}
	})
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stop := context.AfterFunc(c.ctx, cancel) //nolint:contextcheck // a link may be lost while others are being made
	defer stop()
	if err := c.open(ctx); err != nil {
		e := failure("dial", err)
		if lost := context.Cause(c.ctx); lost != nil && !e.keyRefused() { //nolint:contextcheck // as above
			e = failure("dial", lost) // which says more, unless the hub first refused the key and then hung up
		}
		c.fail(e)
		_ = c.Close(ctx) // e says what happened
		return nil, e
	}
	return c, nil
}

func newClient(ctx context.Context, opts *Options) (*Client, error) {
	if opts.Host == "" || opts.DeviceID == "" {
		return nil, &Error{Op: "dial", Class: ClassProtocol, Err: errors.New("host and device id are required")}
	}
	o := *opts
	o.Auth = cmp.Or(o.Auth, AuthSAS)
	o.TokenTTL = cmp.Or(o.TokenTTL, time.Hour)
	o.CBSTimeout = cmp.Or(o.CBSTimeout, 30*time.Second)
	o.SettleTimeout = cmp.Or(o.SettleTimeout, 45*time.Second)
	o.KeepAlive = cmp.Or(o.KeepAlive, 30*time.Second)
	o.Credit = cmp.Or(o.Credit, 8)
	if o.Dial == nil {
		o.Dial = transport.New(&transport.Options{Mode: transport.AMQPS, TLS: o.TLS, Logger: o.Logger}).Dial
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Auth != AuthX509 && o.Key.IsZero() && o.SecondaryKey.IsZero() && o.Token == "" {
		return nil, &Error{Op: "dial", Class: ClassAuth, Err: errors.New("neither a key nor a token to connect with")}
	}
	c := &Client{o: o, turn: make(chan struct{}, 1), renewNow: make(chan chan<- error), wake: make(chan struct{}, 1), telemetry: newLine(Telemetry)}
	if !o.TelemetryOnly {
		c.command = newLine(Command)
	}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.gate = newGate(c.telemetrySettled)
	c.gate.ordered = o.Ordered
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
		if e := c.identify(ctx); e != nil {
			return e
		}
	}
	if c.o.Auth != AuthX509 {
		c.wg.Go(c.renewal)
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
	c.mu.Unlock()
	c.inspectConnection()
	c.wg.Go(c.keep)
	return nil
}

// handshake makes the connection: bare, as Microsoft's clients do, and once more with a SASL layer where the peer insists on one.
func (c *Client) handshake(ctx context.Context) error {
	options := &amqp.ConnOptions{
		HostName: c.at.open, ContainerID: linkName("iotagent"), IdleTimeout: idleTimeout, WriteTimeout: writeTimeout, MaxFrameSize: maxFrame,
	}
	var plain *token
	if c.o.Auth == AuthSASPlain {
		var err error
		if options.SASLType, plain, err = c.plainLogin(); err != nil {
			return err
		}
	}
	err := c.openConn(ctx, options)
	if err == nil && plain != nil {
		c.accepted(plain)
	}
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
	conn, err := c.o.Dial(ctx, transport.Endpoint{Host: c.at.host, Port: c.at.port, Name: c.at.tls})
	if err != nil {
		return failure("dial", err)
	}
	c.wire = newWire(conn, &watch{gate: c.gate, lost: c.linkLost, heard: c.linkHeard, broken: func(err error) { c.fail(protocolError(err)) }})
	c.conn, err = amqp.NewConn(ctx, c.wire, options)
	way, ok := conn.(transport.Conn)
	if ok && (err == nil || c.wire.saslAsked.Load()) { // it does speak AMQP
		way.Proven()
	}
	if err != nil {
		_ = c.wire.Close() // the reason is err
		return failure("open", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Host = c.at.String()
	if ok {
		c.status.Via = way.Via()
	}
	return nil
}

// resource is what this device's tokens are made for.
func (c *Client) resource() string {
	return sas.Resource(c.at.audience, c.o.DeviceID, c.o.ModuleID)
}

// plainLogin returns the SASL PLAIN exchange: the short name of the hub in the user, a token for a password.
func (c *Client) plainLogin() (amqp.SASLType, *token, error) {
	t, err := c.mint(c.keys.inUse())
	if err != nil {
		return nil, nil, err
	}
	user := url.PathEscape(c.o.DeviceID)
	if c.o.ModuleID != "" {
		user += "/modules/" + url.PathEscape(c.o.ModuleID)
	}
	hub, _, _ := strings.Cut(c.at.audience, ".")
	return amqp.SASLTypePlain(user+"@sas."+hub, t.text), t, nil
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
