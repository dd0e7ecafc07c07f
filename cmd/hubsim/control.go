package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"iotagent/hubsim"
	"iotagent/internal/cli"
	"iotagent/internal/simctl"
)

// openControl opens the endpoint of hubctl sim. Only one hub at a time has a state directory's socket.
func (p *program) openControl(ctx context.Context, state string) (net.Listener, error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	l, err := simctl.Listen(ctx, p.controlAt(state))
	if err != nil {
		return nil, cli.Fail(cli.Failed, err, "choose another place with --control, or another --state")
	}
	return l, nil
}

func (p *program) controlAt(state string) string {
	if p.Control != "" {
		return p.Control
	}
	return filepath.Join(state, simctl.Socket)
}

// controlShown is what to give hubctl sim as --control.
func (p *program) controlShown(state string, l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return p.controlAt(state)
	}
	return l.Addr().String() // with the port that was free
}

// serveControl answers on l until ctx ends.
func serveControl(ctx context.Context, hub *hubsim.Server, l net.Listener) error {
	srv := &http.Server{Handler: hub.Control(), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // ends Serve
	defer stop()
	if err := srv.Serve(l); ctx.Err() == nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
