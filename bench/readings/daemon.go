package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/bench/device"
)

// daemonLoad is the load of the built daemon with fifty simulated sensors, while it sends to the built hub.
func daemonLoad(ctx context.Context, d time.Duration, agent, hub string) (l load, err error) {
	dir, err := os.MkdirTemp("", "iotagent-bench-")
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	address, err := freeAddress(ctx)
	if err != nil {
		return l, err
	}
	events := filepath.Join(dir, "events")
	hubProcess, err := start(ctx, filepath.Join(dir, "hub.log"), hub, "--listen", address, "--state", filepath.Join(dir, "hub"), "--device", "bench", "--events", events)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, hubProcess.end()) }()
	if err := appears(ctx, filepath.Join(dir, "hub/devices/bench.connection-string")); err != nil {
		return l, err
	}
	file := filepath.Join(dir, "iotagent.toml")
	if err := os.WriteFile(file, []byte(configuration(dir)), 0o600); err != nil {
		return l, err
	}
	p, err := start(ctx, filepath.Join(dir, "agent.log"), agent, "--config", file, "run")
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	if err := appears(ctx, events); err != nil {
		return l, err
	}
	time.Sleep(5 * time.Second) // connecting is over
	return p.measure(loadDaemon, d, events)
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }() // nobody connected
	return l.Addr().String(), nil
}

func configuration(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[hub]\nconnection_string_file = %q\nca_file = %q\ntransport = \"amqps\"\n\n[agent]\nstate_dir = %q\n", filepath.Join(dir, "hub/devices/bench.connection-string"),
		filepath.Join(dir, "hub/ca.pem"), filepath.Join(dir, "state"))
	for i := range loadSensors {
		fmt.Fprintf(&b, "\n[[sensor]]\nname = \"s%d\"\ntype = \"sim\"\ninterval = %q\n", i, loadInterval)
	}
	return b.String()
}

// appears waits until a file is there that is not empty.
func appears(ctx context.Context, file string) error {
	limit, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		if st, err := os.Stat(file); err == nil && st.Size() > 0 {
			return nil
		}
		select {
		case <-limit.Done():
			return fmt.Errorf("%s did not appear: %w", file, limit.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// process is a program that works until it is told to end.
type process struct {
	cmd *exec.Cmd
	log string
}

func start(ctx context.Context, log, program string, args ...string) (*process, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, program, args...), log: log} //nolint:gosec // what the caller built
	p.cmd.Stdout, p.cmd.Stderr = f, f
	err = p.cmd.Start()
	return p, errors.Join(err, f.Close())
}

func (p *process) end() error {
	err := p.cmd.Process.Signal(unix.SIGTERM)
	if werr := p.cmd.Wait(); werr != nil {
		said, _ := os.ReadFile(p.log)
		err = errors.Join(err, fmt.Errorf("%s: %w\n%s", p.cmd.Path, werr, said))
	}
	return err
}

func (p *process) measure(what string, d time.Duration, events string) (l load, err error) {
	before, err := device.CPUOf(p.cmd.Process.Pid)
	if err != nil {
		return l, err
	}
	began, n := time.Now(), readingsIn(events)
	time.Sleep(d)
	after, err := device.CPUOf(p.cmd.Process.Pid)
	if err != nil {
		return l, err
	}
	took := time.Since(began)
	m, err := device.ResidentOf(p.cmd.Process.Pid)
	return load{What: what, Share: float64(after-before) / float64(took), Readings: readingsIn(events) - n, Seconds: took.Seconds(), RSS: m.RSS}, err
}

// readingsIn counts the readings in the hub's file of events, where a body is a text within JSON.
func readingsIn(events string) int64 {
	b, _ := os.ReadFile(events) // none is none
	return int64(strings.Count(string(b), `{\"sensor\":`))
}
