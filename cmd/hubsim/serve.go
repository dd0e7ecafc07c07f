package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"

	"iotagent/hubsim"
	"iotagent/internal/cli"
)

// program is the command line.
type program struct {
	Listen         string           `help:"Address for AMQP over TLS; port 0 takes a free one." default:"127.0.0.1:5671"`
	HTTPS          string           `help:"Address for AMQP over WebSocket and the REST API; off without. Microsoft's SDKs insist on port 443." name:"https" placeholder:"ADDR"`
	Hostname       string           `help:"Name of the hub, which tokens are made for." default:"localhost"`
	Partitions     int              `help:"Partitions of the telemetry." default:"4"`
	State          string           `help:"Directory for keys, certificate authority, connection strings and messages (default: a temporary one, removed at the end)." placeholder:"DIR" type:"path"`
	Device         []string         `help:"Device to register, unless it is; ID/MODULE registers a module too; may be repeated." placeholder:"ID" sep:"none"`
	X509           []string         `help:"Device to register that proves itself with a client certificate: the one in CERT.pem or, without it, one issued to the common name ID by a --device-ca; may be repeated." name:"x509" placeholder:"ID[=CERT.pem]" sep:"none"`
	DeviceCA       []string         `help:"Certificate authority whose certificates devices may have; may be repeated." name:"device-ca" placeholder:"FILE" type:"existingfile" sep:"none"`
	Events         string           `help:"Append each accepted telemetry message as one line of JSON; - is standard output." placeholder:"FILE|-"`
	FeedbackDelay  time.Duration    `help:"How long feedback records wait for more before they are sent. The real hub waits 15s; here the default is shorter." default:"1s"`
	DirectEvents   bool             `help:"Serve telemetry on the hub's own connection instead of redirecting services."`
	DeviceFeedback bool             `help:"Let devices send feedback records themselves, on /messages/serviceBound/feedback."`
	TokenGrace     time.Duration    `help:"How long links outlive their token." default:"5m"`
	Control        string           `help:"Where hubctl sim reaches the hub: a path, or HOST:PORT on loopback (default: control.sock in the state directory)." placeholder:"PATH|ADDR"`
	ReadyFile      string           `help:"File to write the address into once the hub listens, for scripts." placeholder:"FILE" type:"path"`
	Verbose        bool             `help:"Log links, tokens and connections to standard error." short:"v"`
	Version        kong.VersionFlag `help:"Print the version."`
}

// Run serves until ctx ends.
func (p *program) Run(ctx context.Context, std cli.IO) (err error) {
	if err := p.check(); err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	sink, closeSink, err := openEvents(p.Events, std.Out, fail)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSink()) }()
	state, cleanup, err := p.stateDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanup()) }()
	control, err := p.openControl(ctx, state)
	if err != nil {
		return err
	}
	defer func() { _ = control.Close() }() // closed already after serve
	hub, err := hubsim.New(&hubsim.Options{
		Hostname: p.Hostname, Partitions: p.Partitions, StateDir: state, KeepMessages: p.State != "", Events: sink, DirectEvents: p.DirectEvents, DeviceFeedback: p.DeviceFeedback,
		FeedbackDelay: p.FeedbackDelay, TokenGrace: grace(p.TokenGrace), Logger: p.logger(std.Err),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hub.Close()) }()
	if err := p.register(hub); err != nil {
		return err
	}
	l, err := hub.Listen(ctx, p.Listen)
	if err != nil {
		return cli.Fail(cli.Failed, err, "choose another address with --listen; 127.0.0.1:0 takes a free port")
	}
	var web net.Listener
	if p.HTTPS != "" {
		if web, err = hub.ListenHTTPS(ctx, p.HTTPS); err != nil {
			err = cli.Fail(cli.Failed, err, "choose another address with --https; ports below 1024 may need root")
			return errors.Join(err, l.Close())
		}
	}
	out := std.Out
	if p.Events == "-" {
		out = std.Err // standard output is for events alone
	}
	err = greet(out, l, web, p.controlShown(state, control), state, hub)
	if err == nil && p.ReadyFile != "" {
		err = writeReady(p.ReadyFile, l.Addr().String())
	}
	if err != nil {
		return errors.Join(err, closeAll(l, web))
	}
	if err := serve(ctx, hub, l, web, control); err != nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause // a sink that failed; a signal's cause is Canceled
	}
	return nil
}

// serve answers on the listeners, web being nil without --https, until ctx ends or one of them fails.
func serve(ctx context.Context, hub *hubsim.Server, l, web, control net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serveControl(ctx, hub, control) })
	g.Go(func() error { return hub.Serve(ctx, l) })
	if web != nil {
		g.Go(func() error { return hub.ServeHTTPS(ctx, web) })
	}
	return g.Wait()
}

func closeAll(listeners ...net.Listener) error {
	var errs []error
	for _, l := range listeners {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// check refuses what can only be a mistake on the command line.
func (p *program) check() error {
	switch {
	case p.Partitions < 1 || p.Partitions > 128:
		return cli.Fail(cli.Usage, fmt.Errorf("--partitions: want 1 to 128, got %d", p.Partitions), "")
	case p.FeedbackDelay <= 0:
		return cli.Fail(cli.Usage, fmt.Errorf("--feedback-delay: want more than 0, got %v", p.FeedbackDelay), "")
	case p.TokenGrace < 0:
		return cli.Fail(cli.Usage, fmt.Errorf("--token-grace: want 0 or more, got %v", p.TokenGrace), "")
	case p.Hostname == "":
		return cli.Fail(cli.Usage, errors.New("--hostname is empty"), "")
	}
	ids := slices.Clone(p.Device)
	for _, text := range p.X509 {
		id, _, _ := strings.Cut(text, "=")
		ids = append(ids, id)
	}
	for _, id := range ids {
		device, module, hasModule := strings.Cut(id, "/")
		err := hubsim.CheckDeviceID(device)
		if err == nil && hasModule {
			err = hubsim.CheckDeviceID(module)
		}
		if err != nil {
			return cli.Fail(cli.Usage, fmt.Errorf("--device, --x509: %w", err), "")
		}
	}
	return nil
}

// grace says "none" as the Options do.
func grace(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func (p *program) stateDir() (dir string, cleanup func() error, err error) {
	if p.State != "" {
		return p.State, func() error { return nil }, nil
	}
	dir, err = os.MkdirTemp("", "hubsim-")
	if err != nil {
		return "", nil, fmt.Errorf("state directory: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

func (p *program) logger(w io.Writer) *slog.Logger {
	level := slog.LevelWarn
	if p.Verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// greet prints where the hub is and which files its clients need. The first line is for scripts too.
func greet(w io.Writer, l, web net.Listener, control, state string, hub *hubsim.Server) error {
	var b strings.Builder
	line := func(what, name string) { fmt.Fprintf(&b, "  %-9s%s\n", what, filepath.Join(state, name)) }
	fmt.Fprintf(&b, "hubsim listens on %s\n", l.Addr())
	if web != nil {
		fmt.Fprintf(&b, "  %-9s%s\n", "https", web.Addr())
	}
	fmt.Fprintf(&b, "  %-9s%s\n", "control", control)
	line("trust", "ca.pem")
	line("service", "service.connection-string")
	line("owner", "owner.connection-string")
	ids := slices.Sorted(maps.Keys(hub.Devices()))
	for _, id := range ids {
		line("device", filepath.Join("devices", id+".connection-string"))
	}
	if len(ids) == 0 {
		b.WriteString("  no device yet: start with --device ID to register one\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// writeReady writes the file in one step, so that a script never reads half an address.
func writeReady(path, addr string) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(addr+"\n"), 0o600); err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	return nil
}
