// Package iothub is a device's client of Azure IoT Hub over AMQP 1.0: one connection with its token, its telemetry link and
// its command link. It does not reconnect: when Done is closed the caller dials again, with the waiting rule of the error's class.
package iothub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"iotagent/iothub/sas"
	"iotagent/iothub/transport"
)

// Auth is the way a device proves who it is.
type Auth string

// The ways that the configuration offers; the zero value means SAS.
const (
	AuthSAS      Auth = "sas"       // a token over CBS, renewed on the living connection
	AuthSASPlain Auth = "sas-plain" // a token in SASL PLAIN, bound to the connection
	AuthX509     Auth = "x509"      // a TLS client certificate
)

// Options says which device connects to which hub.
type Options struct {
	// Host is the hub's name, which tokens are made for: "myhub.azure-devices.net". Required.
	Host string
	// Gateway is the host, with an optional port, that is dialled in place of Host (GatewayHostName).
	Gateway string
	// Port to dial when Gateway names none; default the transport's own, 5671 for TCP.
	Port int
	// DeviceID is required; ModuleID is not.
	DeviceID, ModuleID string
	// Auth defaults to AuthSAS.
	Auth Auth
	// Key signs tokens; Token, a complete "SharedAccessSignature …" made elsewhere, is used in its place when set.
	Key   sas.Key
	Token string
	// SecondaryKey is used when the hub refuses the first, and from then on until it is refused itself; the zero Key means that there is none.
	SecondaryKey sas.Key
	// TokenTTL is the life of a minted token; default 1 h.
	TokenTTL time.Duration
	// TLS holds roots and client certificate; nil means the system's roots. The server name is set by Dial.
	TLS *tls.Config
	// Dial makes the byte stream, TLS included; nil dials TCP with TLS on port 5671. Tests pass an in-memory pipe.
	Dial transport.DialFunc
	// Now is the wall clock that tokens expire by; default time.Now.
	Now func() time.Time
	// HubTime asks the hub what time it is, so that a refused token can be explained: HubDate. Nil means that it is not asked.
	HubTime func(ctx context.Context) (time.Time, error)
	// CBSTimeout bounds one token request; default 30 s.
	CBSTimeout time.Duration
	// SettleTimeout is how long the hub may take to settle one message, to take one it gave credit for, or to give credit for one that waits, before
	// the link counts as dead; default 45 s.
	SettleTimeout time.Duration
	// KeepAlive is how long a link may be idle before it is probed, and the connection before something is written to keep address translators on the
	// way awake; default 30 s.
	KeepAlive time.Duration
	// Credit of the command link; default 8.
	Credit int
	// Ordered makes Send and SendBatch fail with ErrInterrupted after the telemetry link was lost, until Resume, so that what was in flight on it, whose
	// receipts say Unknown, can be sent again before anything newer. Default: they wait for the next link.
	Ordered bool
	// TelemetryOnly opens no command link: commands stay at the hub, unlocked, for a connection that wants them.
	TelemetryOnly bool
	// UserAgent is sent as com.microsoft:client-version.
	UserAgent string
	// Logger defaults to a discarding one.
	Logger *slog.Logger
}

// String says which device the options are for, without the secrets.
func (o Options) String() string {
	if o.ModuleID != "" {
		return fmt.Sprintf("module %s of device %s at %s", o.ModuleID, o.DeviceID, o.Host)
	}
	return fmt.Sprintf("device %s at %s", o.DeviceID, o.Host)
}

// GoString hides the secrets from %#v.
func (o Options) GoString() string { return "iothub.Options{" + o.String() + "}" }

// Message is one telemetry message.
type Message struct {
	// ID is the message-id; 1 to 128 characters.
	ID string
	// CorrelationID is optional.
	CorrelationID string
	// ContentType and ContentEncoding are sent as they are; routing on the body needs application/json and utf-8.
	ContentType, ContentEncoding string
	// Created becomes the application property iothub-creation-time-utc unless zero.
	Created time.Time
	// Properties are application properties, each name once. They are sent in this order.
	Properties []Property
	// Body is opaque.
	Body []byte
}

// Property is an application property of a telemetry message.
type Property struct{ Name, Value string }

// State is how the hub settled a message.
type State uint8

// The outcomes that AMQP knows (part 3, §3.4). Only Accepted lets a message be deleted.
const (
	// Unknown: the link was lost before the outcome came; the hub may or may not have it.
	Unknown State = iota
	Accepted
	Rejected
	Released
	Modified
)

// Outcome is the fate of one send.
type Outcome struct {
	State State
	// Err says why, nil when Accepted. For Rejected its Class tells a message's own fault (ClassMessage) from the hub's (ClassQuota, ClassThrottled,
	// ClassServer) and from a condition nobody knows (ClassUnknown).
	Err *Error
}

// Delivery is one cloud-to-device message, the caller's until Settle.
type Delivery struct {
	// ID is the type-tagged message-id ("s:abc", "u:1", "uuid:…", "b:…"), or "" without one.
	ID string
	// MessageID is the message-id as text, for correlation; "" without one.
	MessageID string
	// Sequence is the hub's x-opt-sequence-number, Enqueued its iothub-enqueuedtime; zero when absent.
	Sequence uint64
	Enqueued time.Time
	// Expires is absolute-expiry-time; zero when absent.
	Expires time.Time
	// DeliveryCount is iothub-deliverycount.
	DeliveryCount int
	Subject       string
	CorrelationID string
	Properties    map[string]string
	Body          []byte

	settle func(ctx context.Context, s Settlement, reason string) error
}

// Settlement is what the device answers to a delivery.
type Settlement uint8

// The three answers that IoT Hub knows.
const (
	Accept Settlement = iota
	Reject
	Release
)

// Class sorts errors by what to do about them (ARCHITECTURE.md).
type Class string

// The classes.
const (
	ClassNetwork   Class = "network"
	ClassAuth      Class = "auth"
	ClassClock     Class = "clock"
	ClassThrottled Class = "throttled"
	ClassQuota     Class = "quota"
	ClassDisabled  Class = "disabled"
	ClassRedirect  Class = "redirect"
	ClassProtocol  Class = "protocol"
	ClassDisplaced Class = "displaced" // another client with the same identity
	ClassServer    Class = "server"
	ClassMessage   Class = "message" // the message itself is at fault
	ClassUnknown   Class = "unknown"
)

// Error is what any call of this package fails with.
type Error struct {
	// Op is what was tried: "dial", "tls", "put-token", "attach telemetry", "send", …
	Op string
	// Class says what kind of failure it is.
	Class Class
	// Condition and Description are the hub's own words, where it gave any.
	Condition, Description string
	// Redirect is where to go instead; nil unless Class is ClassRedirect and the hub named a place.
	Redirect *Redirect
	// Hint is what a person can do about it; may be "".
	Hint string
	// Err is the cause.
	Err error
}

// Error returns op, the hub's words and the cause in one line.
func (e *Error) Error() string {
	switch {
	case e.Condition != "" && e.Description != "":
		return fmt.Sprintf("%s: %s: %s", e.Op, e.Condition, e.Description)
	case e.Condition != "":
		return fmt.Sprintf("%s: %s", e.Op, e.Condition)
	case e.Err != nil:
		if _, ok := errors.AsType[*transport.Error](e.Err); ok { // it says where and in what step
			return e.Err.Error()
		}
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return e.Op
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code returns the six-digit code in the hub's description ("Troubleshoot Azure IoT Hub error codes"), 0 without one.
func (e *Error) Code() int { return errorCode(e.Description) }
