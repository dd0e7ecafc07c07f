package iothub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	amqp "github.com/Azure/go-amqp"
)

// errClosed is the cause of a client that Close ended.
var errClosed = errors.New("connection is closed")

// classOf sorts the hub's words. A six-digit code in the description ("Troubleshoot Azure IoT Hub error codes") says more than the condition.
func classOf(condition, description string) Class {
	if class, ok := classOfCode(errorCode(description)); ok {
		return class
	}
	if condition == string(amqp.ErrCondInternalError) && strings.Contains(description, "Another AMQP Client") {
		return ClassDisplaced
	}
	return classOfCondition(condition)
}

func classOfCondition(condition string) Class {
	switch condition {
	case "":
		return ClassNetwork // closed without a word, as gateways do when they move
	case "amqp:internal-error", "amqp:link:detach-forced", "amqp:connection:forced", "amqp:resource-locked", "com.microsoft:timeout":
		return ClassServer
	case "amqp:not-found", "amqp:unauthorized-access", "amqp:resource-deleted":
		return ClassAuth
	case "amqp:resource-limit-exceeded", "com.microsoft:quota-exceeded":
		return ClassQuota
	case "com.microsoft:device-container-throttled", "com.microsoft:server-busy", "amqp:transfer-limit-exceeded", "amqp:link:transfer-limit-exceeded":
		return ClassThrottled
	case "com.microsoft:iot-hub-suspended", "com.microsoft:iot-hub-not-found-error":
		return ClassDisabled
	case "amqp:link:redirect", "amqp:connection:redirect":
		return ClassRedirect
	case "amqp:link:stolen", "com.microsoft:link-creation-conflict", "com.microsoft:connection-closed-on-new-connection":
		return ClassDisplaced
	case "amqp:link:message-size-exceeded", "com.microsoft:argument-error", "com.microsoft:argument-out-of-range", "com.microsoft:message-lock-lost":
		return ClassMessage
	case "amqp:not-allowed", "amqp:not-implemented", "amqp:invalid-field", "amqp:decode-error", "amqp:illegal-state", "amqp:frame-size-too-small",
		"amqp:precondition-failed", "com.microsoft:precondition-failed", "com.microsoft:device-already-exists", "amqp:connection:framing-error",
		"amqp:session:window-violation", "amqp:session:errant-link", "amqp:session:handle-in-use", "amqp:session:unattached-handle":
		return ClassProtocol
	}
	return ClassUnknown
}

func classOfCode(code int) (Class, bool) {
	switch code {
	case 0:
		return "", false
	case 400027, 409002, 409003:
		return ClassDisplaced, true
	case 400024, 400029, 400030, 404012, 404103, 404104:
		return ClassServer, true
	case 403001, 403012:
		return ClassDisabled, true
	case 403002, 403004, 403007:
		return ClassQuota, true
	case 403005, 503005, 503008:
		return ClassThrottled, true
	case 404001, 404010:
		return ClassAuth, true
	case 400004, 400005, 400026, 412002, 413001:
		return ClassMessage, true
	}
	switch code / 1000 {
	case 401:
		return ClassAuth, true
	case 429:
		return ClassThrottled, true
	case 500, 503, 504:
		return ClassServer, true
	}
	return "", false
}

// errorCode finds the six digits after "errorCode" in a description, which is JSON, JSON in quotes, or a sentence; 0 when there are none.
func errorCode(description string) int {
	_, rest, ok := strings.Cut(strings.ToLower(description), "errorcode")
	if !ok {
		return 0
	}
	rest = strings.TrimLeft(rest, "\\\"': =")
	code := 0
	for i := 0; i < len(rest) && rest[i] >= '0' && rest[i] <= '9'; i++ {
		if code = code*10 + int(rest[i]-'0'); code > 999999 {
			return 0
		}
	}
	if code < 100000 {
		return 0
	}
	return code
}

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
		return refusal(op, string(remote.Condition), remote.Description)
	}
	e := &Error{Op: op, Class: ClassNetwork, Err: err}
	switch {
	case strings.Contains(err.Error(), "auth failed with code"): // the library's only sign of a refused SASL exchange
		e.Class, e.Hint = ClassAuth, "the hub refused the token: compare the key with the one in the portal, and the clock with the true time"
	case strings.Contains(err.Error(), "received detach with no error"), strings.Contains(err.Error(), "no supported auth mechanism"):
		e.Class = ClassProtocol
	default:
		tlsFailure(e, err)
	}
	return e
}

// refusal makes an *Error of the hub's own words.
func refusal(op, condition, description string) *Error {
	e := &Error{Op: op, Class: classOf(condition, description), Condition: condition, Description: description}
	switch {
	case e.Class == ClassDisplaced:
		e.Hint = "another program is connected with this device's identity; only one can be"
	case e.Class == ClassDisabled:
		e.Hint = "the device or the hub is disabled: enable it in the portal"
	case e.Class == ClassAuth && condition == string(amqp.ErrCondNotFound):
		e.Hint = "the hub does not know this device: compare DeviceId with the portal"
	case e.Class == ClassAuth:
		e.Hint = "the hub does not accept this device's identity: check the key, the clock, and that the device is enabled"
	case e.Class == ClassQuota:
		e.Hint = "the hub's quota is used up; it begins anew at 00:00 UTC, or with more units"
	}
	return e
}

// tlsFailure says what is wrong with a handshake.
func tlsFailure(e *Error, err error) {
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, isName := errors.AsType[x509.HostnameError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	_, isPlain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		e.Class, e.Hint = ClassClock, "the server's certificate is not valid at this machine's time: check the clock, then the certificate"
	case isUnknown:
		e.Class, e.Hint = ClassAuth, "the server's certificate is signed by an authority that is not trusted here: set ca_file, or look for a proxy that intercepts TLS"
	case isName:
		e.Class, e.Hint = ClassAuth, "the server's certificate is for another name: check the host name"
	case isOp && op.Op == "remote error": // crypto/tls has no type for the alerts of a peer
		e.Class, e.Hint = ClassAuth, "the server refused the TLS handshake: check the device's certificate"
	case isPlain:
		e.Class, e.Hint = ClassProtocol, "what answers on this port does not speak TLS"
	case errors.Is(err, context.DeadlineExceeded) && e.Op == "dial":
		e.Hint = "no answer: check the network and that port 5671 is open"
	}
}

// protocolError is what the peer's breach of the protocol ends the connection with.
func protocolError(err error) *Error {
	return &Error{Op: "receive", Class: ClassProtocol, Err: fmt.Errorf("the peer broke the protocol: %w", err)}
}
