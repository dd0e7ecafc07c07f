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
	// idleTimeout makes the library announce half of it: the hub then says something every 30 s, which also keeps address translators on the way awake.
	idleTimeout = 60 * time.Second
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
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Auth != AuthX509 && o.Key.IsZero() && o.SecondaryKey.IsZero() && o.Token == "" {
		return nil, &Error{Op: "dial", Class: ClassAuth, Err: errors.New("neither a key nor a token to connect with")}
	}
	c := &Client{o: o, born: time.Now().Add(-1), turn: make(chan struct{}, 1), renewNow: make(chan chan<- error)}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.gate = newGate(c.telemetryProven)
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
	names := [2]string{linkName("telemetry"), linkName("command")}
	if err := c.handshake(ctx, names[0]); err != nil {
		return err
	}
	c.wg.Go(c.supervise)
	if c.o.Auth == AuthSAS {
		if err := c.login(ctx); err != nil {
			return err
		}
	}
	if c.o.Auth != AuthX509 {
		c.wg.Go(c.renewal)
	}
	if err := c.attach(ctx, names[0], names[1]); err != nil {
		return err
	}
	c.mu.Lock()
	now := time.Now()
	for _, p := range []Part{Connection, Telemetry, Command} { // the token keeps its own
		c.status.Parts[p] = Health{Phase: Proven, Since: now, Proof: now}
	}
	if c.receiver == nil {
		c.status.Parts[Command] = Health{Phase: Unused, Since: now}
	}
	c.mu.Unlock()
	c.wg.Go(c.watchdog)
	return nil
}

// handshake makes the connection: bare, as Microsoft's clients do, and once more with a SASL layer where the peer insists on one.
func (c *Client) handshake(ctx context.Context, telemetry string) error {
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
	err := c.openConn(ctx, telemetry, options)
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
	return c.openConn(ctx, telemetry, options)
}

func (c *Client) openConn(ctx context.Context, telemetry string, options *amqp.ConnOptions) error {
	transport, err := c.transport(ctx)
	if err != nil {
		return err
	}
	c.wire = newWire(transport, &watch{gate: c.gate, telemetry: telemetry, lost: c.linkLost, broken: func(err error) { c.fail(protocolError(err)) }})
	if c.conn, err = amqp.NewConn(ctx, c.wire, options); err != nil {
		_ = transport.Close() // the reason is err
		return failure("open", err)
	}
	return nil
}

// transport makes the byte stream: TLS over TCP, to the gateway if there is one.
func (c *Client) transport(ctx context.Context) (net.Conn, error) {
	if c.o.Dial != nil {
		conn, err := c.o.Dial(ctx, transport.Endpoint{Host: c.at.host, Port: c.at.port, Name: c.at.tls})
		if err != nil {
			return nil, failure("dial", err)
		}
		return conn, nil
	}
	addr := net.JoinHostPort(c.at.host, strconv.Itoa(cmp.Or(c.at.port, defaultPort)))
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
	config.ServerName = c.at.tls
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error is the one to report
		return nil, failure("tls", err)
	}
	return conn, nil
}

// attach makes the links. Settle modes stay unset, for the library then takes the hub's, and fails when it asked for others.
func (c *Client) attach(ctx context.Context, telemetry, command string) (err error) {
	if c.session, err = c.conn.NewSession(ctx, nil); err != nil {
		return failure("begin", err)
	}
	properties := map[string]any{"com.microsoft:api-version": apiVersion}
	if c.o.UserAgent != "" {
		properties["com.microsoft:client-version"] = c.o.UserAgent
	}
	c.sender, err = c.session.NewSender(ctx, c.at.telemetry, &amqp.SenderOptions{Name: telemetry, Properties: properties})
	if err != nil {
		return failure("attach telemetry", err)
	}
	c.free(c.sender)
	if c.o.TelemetryOnly {
		return nil
	}
	c.receiver, err = c.session.NewReceiver(ctx, c.at.command, &amqp.ReceiverOptions{
		Name: command, Properties: properties, Credit: int32(min(c.o.Credit, 50)),
	})
	if err != nil {
		return failure("attach command", err)
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
