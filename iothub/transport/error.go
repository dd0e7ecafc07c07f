package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
)

// Error is what Dial fails with. It holds no secret.
type Error struct {
	// Op is what failed: "dial" (name and TCP), "proxy", "tls" or "websocket".
	Op string
	// Addr is the other side of that step: the hub's host and port, or for "proxy" the proxy's.
	Addr string
	// Err is the cause.
	Err error
}

// ErrProxyAuth is the cause of an Error when the proxy wants other credentials than it got.
var ErrProxyAuth = errors.New("the proxy refuses this user")

// Error returns step, address and cause in one line.
func (e *Error) Error() string { return e.Op + " " + e.Addr + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// failed makes an *Error of a step's failure, and leaves out of a network error what stands in it already.
func failed(op, addr string, err error) *Error {
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		err = dial.Err
		if dial.Addr != nil && dial.Addr.String() != addr {
			err = fmt.Errorf("%s: %w", dial.Addr, dial.Err)
		}
	}
	if err == context.DeadlineExceeded { //nolint:errorlint // the bare one, which says nothing to a person
		err = fmt.Errorf("no answer: %w", err)
	}
	return &Error{Op: op, Addr: addr, Err: err}
}

// blocked reports whether a failure is one that another port may not have: nobody answers, or not in the way that it should. What has been judged, a
// certificate, a user, a name, is the same on every port.
func blocked(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || errors.Is(err, context.Canceled) || errors.Is(err, ErrProxyAuth) {
		return false
	}
	switch e.Op {
	case "dial":
		_, unknown := errors.AsType[*net.DNSError](err)
		return !unknown
	case "proxy":
		_, refused := errors.AsType[*statusError](err)
		return refused
	case "tls":
		return unanswered(e.Err)
	}
	return true // "websocket": whatever stands there, it is not the hub
}

// unanswered reports whether a TLS handshake ended before either side had judged the other.
func unanswered(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op != "remote error" && op.Op != "local error" // alerts
	}
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	return plain || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}
