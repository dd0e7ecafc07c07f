// Package hubsim is a local IoT Hub: the AMQP 1.0 endpoints that devices and services use, with the rules of the real one and the faults of
// the field on demand. It runs as a program behind TLS and, for tests, in memory, where all its timers follow testing/synctest.
//
// One mutex guards the whole hub. That is enough because nothing waits while holding it: package amqpd's methods only queue what they send.
package hubsim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"iotagent/hubsim/amqpd"
)

// Options describe a hub. A nil *Options and every zero field mean the default.
type Options struct {
	// Hostname is the hub's name, which tokens are made for; default "localhost".
	Hostname string
	// Partitions of the telemetry; default 4.
	Partitions int
	// Retention is how many events each partition keeps; default 10 000.
	Retention int
	// StateDir keeps identities and keys over restarts; "" keeps nothing. Twins are always in memory only.
	StateDir string
	// KeepMessages keeps queued commands, events and feedback in StateDir too, and has it for this hub alone; false keeps them in memory only.
	KeepMessages bool
	// Now is the hub's wall clock, for token expiry and times in data; default time.Now. Timers run on package time all the same.
	Now func() time.Time
	// Logger defaults to a discarding one.
	Logger *slog.Logger
	// Events is called for each accepted telemetry message, in order and before the device hears of it. It must not call the Server.
	Events func(*Event)

	// CommandLock is how long a delivered command waits for its settlement; default 60 s.
	CommandLock time.Duration
	// CommandTTL is the life of a command without an expiry time; default 1 h.
	CommandTTL time.Duration
	// MaxDeliveries is how often a command is delivered at most; default 10.
	MaxDeliveries int
	// QueueLimit is the number of commands that may wait for one device; default 50.
	QueueLimit int
	// DeviceFeedback lets devices send records to /messages/serviceBound/feedback, as Microsoft's page on AMQP lists it; the hub that the SDKs know
	// hears of outcomes by the settlement of commands alone. Default: refused.
	DeviceFeedback bool
	// CountLockLoss makes a lost lock count as a delivery, as it did in older versions of the service; default false.
	CountLockLoss bool
	// CommandsSecond forces receiver settle mode second on command links; false lets the device choose.
	CommandsSecond bool
	// MethodStringIDs gives method requests a string as correlation-id, as IoT Edge's hub does; false gives a uuid, as IoT Hub does.
	MethodStringIDs bool

	// FeedbackDelay and FeedbackBatch say when feedback records are sent: after so long or so many; default 15 s and 64.
	FeedbackDelay time.Duration
	FeedbackBatch int

	// TokenGrace is how long links outlive their token; default 5 min. Negative: none.
	TokenGrace time.Duration
	// ClockSkew is how long after its end a token is still taken; default 0, where the real hub allows some minutes.
	ClockSkew time.Duration
	// RequireSASL refuses clients that begin without a SASL layer; the real hub takes them.
	RequireSASL bool
	// TokensAtAttach answers every well-formed put-token with 200 and judges the token when the next link is attached, as IoT Edge's hub
	// does; false judges it at once, as IoT Hub does.
	TokensAtAttach bool
	// SASLFailure is the SASL outcome code for bad credentials; default 2, as the real hub answers.
	SASLFailure uint8
	// DirectEvents serves telemetry on messages/events without the redirect.
	DirectEvents bool
	// OmitNextIncomingID reproduces FLOW frames of some gateways: without next-incoming-id.
	OmitNextIncomingID bool
	// MinPeerIdleTimeout is the shortest idle timeout that a peer may announce; default 5 s. Negative: any.
	MinPeerIdleTimeout time.Duration
	// IdleTimeout is what the hub announces; default 240 s.
	IdleTimeout time.Duration
}

func (o *Options) withDefaults() Options {
	var r Options
	if o != nil {
		r = *o
	}
	setDefault(&r.Hostname, "localhost")
	setDefault(&r.Partitions, 4)
	setDefault(&r.Retention, 10_000)
	setDefault(&r.CommandLock, time.Minute)
	setDefault(&r.CommandTTL, time.Hour)
	setDefault(&r.MaxDeliveries, 10)
	setDefault(&r.QueueLimit, 50)
	setDefault(&r.FeedbackDelay, 15*time.Second)
	setDefault(&r.FeedbackBatch, 64)
	setDefault(&r.TokenGrace, 5*time.Minute)
	setDefault(&r.SASLFailure, uint8(amqpd.SASLSys))
	if r.Now == nil {
		r.Now = time.Now
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	r.TokenGrace = max(r.TokenGrace, 0)
	return r
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Server is one hub. Its methods may be called from any goroutine.
type Server struct {
	opts Options
	wire *amqpd.Config
	ca   *authority
	wg   sync.WaitGroup

	// Faults that are looked up where mu may be held.
	skew     atomic.Int64 // how far the clock is off
	hole     atomic.Uint32
	readRate atomic.Int64 // bytes a second for each connection; 0: as they come

	mu         sync.Mutex
	closed     bool
	port       string
	policies   map[string]*policy
	devices    map[string]*device
	deviceCAs  *x509.CertPool // of devices' certificates
	partitions []*partition
	accepted   int64  // telemetry messages so far
	attached   uint64 // links so far
	feedback   *feedback
	keep       *keeper
	calls      map[any]*pendingCall // methods that wait for an answer, by correlation-id
	conns      map[*conn]bool
	sockets    map[net.Conn]context.CancelFunc
	listeners  map[net.Listener]bool
	created    time.Time
	faults     faults
	written    map[string]string // what the files in the state directory hold
	changed    chan struct{}     // closed and replaced at each change; nil when nobody waits
}

// ErrClosed is the error of calls on a closed Server.
var ErrClosed = errors.New("hub is closed")

// New returns a hub that serves nobody yet. With a state directory it has the identities of its last run.
func New(o *Options) (*Server, error) {
	s := &Server{
		opts: o.withDefaults(), deviceCAs: x509.NewCertPool(),
		written: map[string]string{}, devices: map[string]*device{}, calls: map[any]*pendingCall{}, conns: map[*conn]bool{},
		sockets: map[net.Conn]context.CancelFunc{}, listeners: map[net.Listener]bool{},
	}
	if s.opts.Partitions < 1 || s.opts.Partitions > 128 {
		return nil, fmt.Errorf("partitions: want 1 to 128, got %d", s.opts.Partitions)
	}
	for range s.opts.Partitions {
		s.partitions = append(s.partitions, &partition{readers: map[*link]bool{}})
	}
	s.faults.telemetryCredit, s.faults.window = telemetryCredit, -1
	s.opts.Now = s.skewed(s.opts.Now)
	s.created = s.opts.Now().UTC().Truncate(time.Millisecond)
	s.feedback = newFeedback(s)
	s.wire = &amqpd.Config{
		Handler: &handler{s}, Authenticate: s.authenticate,
		OmitNextIncomingID: s.opts.OmitNextIncomingID, RequireSASL: s.opts.RequireSASL,
		IdleTimeout: s.opts.IdleTimeout, MinPeerIdleTimeout: s.opts.MinPeerIdleTimeout,
		Logger: s.opts.Logger,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return nil, err
	}
	if err := s.openMessages(); err != nil {
		return nil, err
	}
	if err := s.saveLocked(); err != nil {
		return nil, errors.Join(err, s.keep.close())
	}
	return s, nil
}

// Serve answers connections from l until ctx ends or the Server is closed, and then closes l and waits for them. The error is nil after either.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // ends Accept
	defer stop()
	if err := s.addListener(l); err != nil {
		return err
	}
	defer s.removeListener(l)
	var mine sync.WaitGroup
	defer mine.Wait()
	defer cancel()
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil || s.isClosed():
			return nil
		default:
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
		if err := s.start(ctx, nc, mine.Go); err != nil {
			_ = nc.Close() // refused: the peer sees that
		}
	}
}

// Dial connects to the hub in memory, without TLS. The connection outlives ctx.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	if err := s.start(context.WithoutCancel(ctx), server, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("dial: %w", err), client.Close(), server.Close())
	}
	return client, nil
}

// Close ends every connection and timer and waits for them.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		_ = l.Close() // Serve reports what matters
	}
	for _, cancel := range s.sockets {
		cancel()
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		d.commands.close()
	}
	s.feedback.close()
	s.noteLocked()
	keep := s.keep
	s.keep = nil
	return keep.close()
}

// start serves one connection in a goroutine of its own; also runs beside wait group's when the caller has one.
func (s *Server) start(ctx context.Context, nc net.Conn, spawn func(func())) error {
	ctx, leave, err := s.admit(ctx, nc)
	if err != nil {
		return err
	}
	run := func() {
		defer leave()
		s.serveConn(ctx, nc)
	}
	if spawn == nil {
		go run()
	} else {
		spawn(run)
	}
	return nil
}

// admit counts a connection in; leave counts it out. The context ends with the Server too.
func (s *Server) admit(ctx context.Context, nc net.Conn) (_ context.Context, leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, nil, ErrClosed
	case s.faults.refuse:
		return nil, nil, errRefused
	}
	ctx, cancel := context.WithCancel(ctx)
	s.sockets[nc] = cancel
	s.wg.Add(1)
	return ctx, func() {
		cancel()
		s.mu.Lock()
		delete(s.sockets, nc)
		s.noteLocked()
		s.mu.Unlock()
		s.wg.Done()
	}, nil
}

func (s *Server) serveConn(ctx context.Context, nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		hctx, cancel := context.WithTimeout(ctx, s.handshakeTime())
		err := t.HandshakeContext(hctx)
		cancel()
		if err != nil {
			s.opts.Logger.Info("tls handshake failed", "remote", nc.RemoteAddr().String(), "error", err)
			_ = nc.Close() // the handshake's error says more
			return
		}
	}
	err := amqpd.Serve(ctx, &holeConn{Conn: nc, s: s}, s.wireConfig())
	s.opts.Logger.Debug("connection ended", "remote", nc.RemoteAddr().String(), "error", err)
}

func (s *Server) addListener(l net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.listeners[l] = true
	return nil
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	_ = l.Close() // may be closed already
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
