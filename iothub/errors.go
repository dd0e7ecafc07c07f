package iothub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	amqp "github.com/Azure/go-amqp"

	"iotagent/iothub/transport"
)

// errClosed is the cause of a client that Close ended.
var errClosed = errors.New("connection is closed")

// classOf sorts the hub's words.
func classOf(condition, description string) Class { return kindOf(condition, description).class }

// faultOf is classOf for a rejected message: there the sender's mistakes are the message's own.
func faultOf(condition, description string) Class {
	if condition == "" {
		return ClassUnknown
	}
	class := classOf(condition, description)
	if class == ClassProtocol {
		return ClassMessage
	}
	return class
}

// failure makes an *Error of what a call failed with.
func failure(op string, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if remote, ok := errors.AsType[*amqp.Error](err); ok {
		return refused(op, remote)
	}
	e := &Error{Op: op, Class: ClassNetwork, Err: err}
	if t, ok := errors.AsType[*transport.Error](err); ok {
		e.Op = t.Op
	}
	switch {
	case strings.Contains(err.Error(), "auth failed with code"): // the library's only sign of a refused SASL exchange
		e.Op, e.Class, e.Hint = "sasl", ClassAuth, "the hub refused the token: compare the key with the one in the portal, and the clock with the true time"
	case strings.Contains(err.Error(), "received detach with no error"), strings.Contains(err.Error(), "no supported auth mechanism"):
		e.Class = ClassProtocol
	case errors.Is(err, transport.ErrProxyAuth):
		e.Class, e.Hint = ClassAuth, "the proxy wants a user and a password, or others than it got: set proxy_credentials_file"
	case !tlsFailure(e, err):
		e.Hint = networkHint(e.Op, err)
	}
	return e
}

// refusal makes an *Error of the hub's own words.
func refusal(op, condition, description string) *Error {
	return refused(op, &amqp.Error{Condition: amqp.ErrCond(condition), Description: description})
}

// refused makes an *Error of the hub's own words and what it added to them.
func refused(op string, remote *amqp.Error) *Error {
	k := kindOf(string(remote.Condition), remote.Description)
	e := &Error{Op: op, Class: k.class, Condition: string(remote.Condition), Description: remote.Description, Hint: k.hint}
	if e.Class != ClassRedirect {
		return e
	}
	if e.Redirect, e.Err = parseRedirect(remote.Info); e.Err != nil {
		e.Hint = "the hub sends this device elsewhere without saying where to; it is asked again"
	}
	return e
}

// tlsFailure says what is wrong with a handshake; false when that is nothing of TLS.
func tlsFailure(e *Error, err error) bool {
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, isRoots := errors.AsType[x509.SystemRootsError](err)
	_, isName := errors.AsType[x509.HostnameError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	_, isPlain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		e.Class, e.Hint = ClassClock, "the server's certificate is not valid at this machine's time: check the clock, then the certificate"
	case isUnknown, isRoots:
		e.Class, e.Hint = ClassAuth, "the server's certificate is signed by an authority that is not trusted here: set ca_file, or look for a proxy that intercepts TLS"
	case isName:
		e.Class, e.Hint = ClassAuth, "the server's certificate is for another name: check the host name"
	case isInvalid:
		e.Class, e.Hint = ClassAuth, "the server's certificate is no good for this: look for a proxy that intercepts TLS"
	case isOp && op.Op == "remote error": // crypto/tls has no type for the alerts of a peer
		e.Class, e.Hint = ClassAuth, "the server refused the TLS handshake: check the device's certificate"
	case isPlain:
		e.Class, e.Hint = ClassProtocol, "what answers on this port does not speak TLS"
	default:
		return false
	}
	return true
}

// networkHint says where to look when nobody, or nobody yet, answers; "" when the failure gives no clue.
func networkHint(op string, err error) string {
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		if name.IsNotFound {
			return "the name server knows no " + name.Name + ": check the host name"
		}
		return "the name server does not answer: check the network and its resolver"
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there, or a firewall refuses: check the host, and that port 5671 (443 for WebSocket) is open"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "there is no way there: check the cable, the address and the gateway of this machine"
	case errors.Is(err, syscall.ENETDOWN):
		return "the network interface is down: check the cable or the modem"
	}
	if op != "dial" && op != "tls" && op != "websocket" && op != "proxy" {
		return ""
	}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		return "no answer: check the network and that port 5671 (443 for WebSocket) is open"
	}
	return ""
}

// protocolError is what the peer's breach of the protocol ends the connection with.
func protocolError(err error) *Error {
	return &Error{Op: "receive", Class: ClassProtocol, Err: fmt.Errorf("the peer broke the protocol: %w", err)}
}
