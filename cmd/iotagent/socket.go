package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"iotagent/internal/backoff"
	"iotagent/internal/cli"
	"iotagent/outbox"
)

// daemonFile is daemon.json in the state directory: where the running daemon answers.
type daemonFile struct {
	PID    int    `json:"pid"`
	Socket string `json:"socket"`
}

// maxSocketPath is what fits sun_path of a Unix socket on Linux, with its closing zero (unix(7)).
const maxSocketPath = 107

// listenControl opens the control socket and writes daemon.json; cleanup removes both.
func listenControl(ctx context.Context, stateDir string) (l net.Listener, cleanup func(), err error) {
	path, removeDir, err := socketPath(stateDir)
	if err != nil {
		return nil, nil, err
	}
	// The outbox's lock is ours by now: a socket that lies there is a dead daemon's.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("control socket: %w", err)
	}
	var lc net.ListenConfig
	l, err = lc.Listen(ctx, "unix", path)
	if err != nil {
		removeDir()
		return nil, nil, fmt.Errorf("control socket: %w", err)
	}
	cleanup = func() {
		_ = l.Close() // removes the socket
		_ = os.Remove(filepath.Join(stateDir, "daemon.json"))
		removeDir()
	}
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // the group iotagent may ask
		cleanup()
		return nil, nil, fmt.Errorf("control socket: %w", err)
	}
	if err := writeDaemonFile(stateDir, path); err != nil {
		cleanup()
		return nil, nil, err
	}
	return l, cleanup, nil
}

// socketPath chooses where the socket lies: $RUNTIME_DIRECTORY under systemd, the state directory otherwise, or a
// private temporary folder when that path is too long for a socket.
func socketPath(stateDir string) (path string, removeDir func(), err error) {
	nothing := func() {}
	if dir := os.Getenv("RUNTIME_DIRECTORY"); dir != "" {
		return filepath.Join(dir, "control.sock"), nothing, nil
	}
	path, err = filepath.Abs(filepath.Join(stateDir, "control.sock"))
	if err != nil {
		return "", nil, fmt.Errorf("control socket: %w", err)
	}
	if len(path) <= maxSocketPath {
		return path, nothing, nil
	}
	dir, err := os.MkdirTemp("", "iotagent-")
	if err != nil {
		return "", nil, fmt.Errorf("control socket: %w", err)
	}
	return filepath.Join(dir, "control.sock"), func() { _ = os.RemoveAll(dir) }, nil
}

func writeDaemonFile(stateDir, socket string) error {
	b, err := json.Marshal(daemonFile{PID: os.Getpid(), Socket: socket})
	if err != nil {
		return err
	}
	path := filepath.Join(stateDir, "daemon.json")
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o640); err != nil { //nolint:gosec // readable by the group: it holds no secret
		return fmt.Errorf("daemon.json: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("daemon.json: %w", err)
	}
	return nil
}

// bothBusy is how long a command tries when neither the daemon answers nor its lock is free: it is starting or stopping.
const bothBusy = 5 * time.Second

// untilFree calls try again for as long as that lasts.
func untilFree(ctx context.Context, try func() error) error {
	for deadline := time.Now().Add(bothBusy); ; {
		err := try()
		switch {
		case !errors.Is(err, outbox.ErrLocked):
			return err
		case time.Now().After(deadline):
			return cli.Fail(cli.Failed, err, "an iotagent holds it and does not answer: look for it with ps, or in its log")
		}
		if err := backoff.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// errNoDaemon says that nobody answers.
var errNoDaemon = errors.New("the daemon is not running")

// dialControl connects to the running daemon; it wraps errNoDaemon when there is none, and says so when there is one that this user may not talk to.
func dialControl(ctx context.Context, stateDir string) (net.Conn, error) {
	b, err := os.ReadFile(filepath.Join(stateDir, "daemon.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNoDaemon
	case err != nil:
		return nil, fmt.Errorf("find the daemon: %w", err)
	}
	var d daemonFile
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("%w (daemon.json is damaged: %w)", errNoDaemon, err)
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "unix", d.Socket)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("talk to the daemon: %w", err)
	case err != nil:
		return nil, fmt.Errorf("%w (%w)", errNoDaemon, err)
	}
	return conn, nil
}
