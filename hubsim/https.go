package hubsim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// ListenHTTPS opens a TLS listener on a TCP address for ServeHTTPS, with the same certificate authority as Listen's.
func (s *Server) ListenHTTPS(ctx context.Context, addr string) (net.Listener, error) {
	config, err := s.TLSConfig()
	if err != nil {
		return nil, err
	}
	config.NextProtos = []string{"http/1.1"} // WebSocket needs it
	plain, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return tls.NewListener(&faultyListener{plain, s}, config), nil
}

// ServeHTTPS answers AMQP over WebSocket and the REST API on connections from l until ctx ends or the Server is closed, and then closes l
// and waits for them. The error is nil after either.
func (s *Server) ServeHTTPS(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.addListener(l); err != nil {
		return err
	}
	defer s.removeListener(l)
	var g gate
	defer g.close()
	defer cancel()
	srv := &http.Server{
		Handler:     g.guard(s.dated(s.routes())),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, rawKey{}, rawOf(nc))
		},
		ReadHeaderTimeout: 20 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // ends Serve
	defer stop()
	err := srv.Serve(l)
	_ = srv.Close() // the connections
	if ctx.Err() != nil || s.isClosed() || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", l.Addr(), err)
}

// dated gives every answer the hub's own time, by which clients judge their clocks.
func (s *Server) dated(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", s.opts.Now().UTC().Format(http.TimeFormat))
		h.ServeHTTP(w, r)
	})
}

// gate lets requests in until it is closed, and knows when the last one has left.
type gate struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

func (g *gate) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		if g.closed {
			g.mu.Unlock()
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		g.wg.Add(1)
		g.mu.Unlock()
		defer g.wg.Done()
		h.ServeHTTP(w, r)
	})
}

// close waits for the requests that are in.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wg.Wait()
}

// faultyListener has the faults of connections: refused ones, and black holes.
type faultyListener struct {
	net.Listener
	s *Server
}

// Accept returns the next connection that is not refused.
func (l *faultyListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.s.refusing() {
			_ = nc.Close() // the peer sees that
			continue
		}
		return &holeConn{Conn: &rawConn{Conn: nc, s: l.s}, s: l.s}, nil
	}
}
