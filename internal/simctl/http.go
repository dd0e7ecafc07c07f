package simctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// limit is how long an answer may take.
const limit = 10 * time.Second

// Ask sends an order to the hub whose control endpoint is at (see Listen).
func Ask(ctx context.Context, at string, r *Request) (*Reply, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("control request: %w", err)
	}
	var reply Reply
	if err := do(ctx, at, http.MethodPost, body, &reply); err != nil {
		return nil, err
	}
	if reply.Error != "" {
		return nil, errors.New(reply.Error)
	}
	return &reply, nil
}

// AskStatus returns what the hub at a control endpoint is doing.
func AskStatus(ctx context.Context, at string) (*Status, error) {
	var s Status
	err := do(ctx, at, http.MethodGet, nil, &s)
	return &s, err
}

func do(ctx context.Context, at, method string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, at) }}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, "http://hubsim/", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("control endpoint: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("control endpoint: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it matters
	if err := json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(into); err != nil {
		return fmt.Errorf("control endpoint: status %s: %w", resp.Status, err)
	}
	return nil
}

// isTCP tells HOST:PORT from a path.
func isTCP(at string) bool { return !strings.ContainsRune(at, '/') && strings.ContainsRune(at, ':') }

func dial(ctx context.Context, at string) (net.Conn, error) {
	var d net.Dialer
	if isTCP(at) {
		return d.DialContext(ctx, "tcp", at)
	}
	path, done, err := short(at)
	if err != nil {
		return nil, err
	}
	defer done()
	return d.DialContext(ctx, "unix", path)
}

// short returns a name for a path that fits into a socket's address (108 bytes, unix(7)), usable until done.
func short(path string) (name string, done func(), err error) {
	if len(path) < 100 {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { _ = dir.Close() }, nil
}

// Listen opens a control endpoint: HOST:PORT on loopback, or the path of a socket, for its owner only. A socket that nobody listens to any
// more is replaced.
func Listen(ctx context.Context, at string) (net.Listener, error) {
	var lc net.ListenConfig
	if isTCP(at) {
		host, _, err := net.SplitHostPort(at)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && !ip.IsLoopback() {
			return nil, fmt.Errorf("control endpoint %s: want an address of loopback: whoever reaches it commands the hub", at)
		}
		return lc.Listen(ctx, "tcp", at)
	}
	if nc, err := dial(ctx, at); err == nil {
		_ = nc.Close() // it has told us enough
		return nil, fmt.Errorf("control endpoint %s: another hubsim answers there", at)
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control endpoint: %w", err)
	}
	path, done, err := short(at)
	if err != nil {
		return nil, fmt.Errorf("control endpoint: %w", err)
	}
	defer done()
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control endpoint: %w", err)
	}
	if u, ok := l.(*net.UnixListener); ok && path != at {
		u.SetUnlinkOnClose(false) // by a name that is no longer good; the next Listen clears it away
	}
	if err := os.Chmod(at, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("control endpoint: %w", err), l.Close())
	}
	return l, nil
}
