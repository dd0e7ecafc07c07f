// Package amqpd is the server side of AMQP 1.0 (OASIS, 29 October 2012): it
// answers one peer on one net.Conn with frames, SASL, sessions, links, credit
// and dispositions, and leaves it to a Handler what a link is for. Message
// sections are not interpreted: a message is its encoded bytes.
//
// Each call of Serve runs one connection. Nothing is shared between
// connections, so a peer that reads slowly or not at all holds up nobody else.
//
// # Concurrency
//
// The callbacks of one connection never run at the same time; those of
// different connections do. Every method of Conn, Session, Link, Incoming and
// Outgoing may be called from any goroutine, inside a callback or not, with
// locks of the caller held or not: none of them waits for the peer and none
// runs a callback.
package amqpd

import (
	"context"
	"log/slog"
	"time"
)

// Config says how connections behave. The zero value of every field is a
// usable default; only Handler must be set. Serve does not change it, so that
// one Config may serve many connections at once.
type Config struct {
	// Handler is told what happens on the connection. Required.
	Handler Handler

	// Authenticate judges a SASL exchange. It may block until ctx ends. The
	// identity it returns with code SASLOK becomes Conn.Identity. With any
	// other code the outcome is sent and the connection ends.
	// Nil: everybody is accepted, with a nil identity.
	Authenticate func(ctx context.Context, req *SASLRequest) (identity any, code SASLCode)

	// Mechanisms are the SASL mechanisms in the order in which they are
	// offered. Nil: PLAIN, ANONYMOUS, MSSBCBS, EXTERNAL.
	Mechanisms []string

	// RequireSASL refuses a peer that starts with the plain AMQP header.
	// False: such a peer is served, with a nil identity.
	RequireSASL bool

	// Welcome is the additional data of a SASL outcome with code SASLOK. Nil: none.
	Welcome []byte

	// ContainerID and Hostname stand in our OPEN. Empty ContainerID:
	// "DeviceGateway_" and 32 hex digits. Empty Hostname: none.
	ContainerID string
	Hostname    string

	// Properties stand in our OPEN. Nil: none.
	Properties Fields

	// MaxFrameSize is the largest frame we accept. Zero: 65536. Below 512: 512.
	MaxFrameSize uint32

	// ChannelMax is the highest channel number a peer may use. Zero: 8191.
	ChannelMax uint16

	// HandleMax is the highest link handle a peer may use in a session. Zero: 8191.
	HandleMax uint32

	// MaxLinks is the number of links a connection may have at a time. Zero: 16384.
	MaxLinks int

	// IncomingWindow is the number of transfer frames a session accepts before
	// it must have renewed the window. Zero: 5000. Session.SetIncomingWindow
	// changes it later, to zero if need be.
	IncomingWindow uint32

	// MaxMessageSize is announced on every link; a larger message detaches its
	// link with amqp:link:message-size-exceeded. Zero: 1048576.
	MaxMessageSize uint64

	// IdleTimeout is announced in our OPEN; a peer that sends nothing for so
	// long is closed. Zero: 240 s. Negative: none.
	IdleTimeout time.Duration

	// MinPeerIdleTimeout is the shortest idle-time-out a peer may ask for;
	// below it the connection is closed with amqp:not-allowed. Zero: 5 s.
	// Negative: any is allowed.
	MinPeerIdleTimeout time.Duration

	// DefaultPeerIdleTimeout is taken for a peer that announces none, so that
	// it gets heartbeats all the same. Zero: 120 s. Negative: no heartbeats.
	DefaultPeerIdleTimeout time.Duration

	// HandshakeTimeout is the time from the first byte to the peer's OPEN. Zero: 30 s.
	HandshakeTimeout time.Duration

	// WriteTimeout drops a connection whose peer has not taken a piece (of at
	// most 64 KiB) of what we write for so long. Zero: 60 s.
	WriteTimeout time.Duration

	// CloseTimeout is how long we wait for a peer's answer to our CLOSE before
	// the connection is cut. Zero: 2 s.
	CloseTimeout time.Duration

	// FirstID is the first transfer-id, delivery-id and delivery-count that
	// sessions and links of ours use. Zero: 0. Close to 1<<32 it lets a test
	// see the serial numbers wrap.
	FirstID uint32

	// OmitNextIncomingID makes every FLOW say null for next-incoming-id, a
	// fault that some gateways had; clients that insist on the field end the session.
	OmitNextIncomingID bool

	// Logger gets debug records of a connection's course. Nil: none.
	Logger *slog.Logger
}

// Handler decides what connections and links are for. The callbacks of one
// connection are never concurrent. They should return soon: until then nothing
// more is read from that peer.
type Handler interface {
	// Opened is called after the peer's OPEN and before ours. With an error
	// the connection is opened and closed at once with that error (see AsError).
	Opened(c *Conn) error

	// Attach is called when the peer attaches a link. It may change the
	// exported fields of l that say so, and grant credit. With an error the
	// link is refused on the wire: an ATTACH with null source and target,
	// then a closing DETACH with the error (see AsError). ErrNoAnswer leaves
	// it without any answer.
	Attach(l *Link) error

	// Message hands over one complete message of a link on which the client
	// sends. Unless d.Settled, d.Settle must be called once, now or later.
	Message(l *Link, d *Incoming)

	// Credit is called when Link.Credit of a link on which the client receives
	// may have become larger than zero: after the peer's FLOW, and when an
	// outbound buffer that was full has room again. When the peer drains the
	// link, what is not sent before Credit returns must wait for new credit.
	Credit(l *Link)

	// Disposition tells what the client thinks of a message sent to it. A
	// settled one is over. An unsettled one (receiver settle mode second) waits
	// for o.Settle. It is called at most once with settled false for each
	// change of state, and at most once with settled true.
	Disposition(l *Link, o *Outgoing, s State, settled bool)

	// Detached is called once for every link whose Attach returned nil, soon
	// after either side detached it or its session or connection ended. It is
	// the last callback for l. Messages of the link that are still unsettled
	// will not be heard of again. err is nil after an orderly detach, the
	// *Error of the side that detached, or what ended the connection.
	Detached(l *Link, err error)

	// Closed is called once if Opened returned nil, after Detached for
	// every link. err is what Serve will return.
	Closed(c *Conn, err error)
}

// SASLCode is the code of a SASL outcome (AMQP 1.0 part 5, 5.3.3.6).
type SASLCode uint8

// The SASL outcomes.
const (
	SASLOK      SASLCode = 0 // authenticated
	SASLAuth    SASLCode = 1 // bad credentials
	SASLSys     SASLCode = 2 // system error
	SASLSysPerm SASLCode = 3 // permanent system error
	SASLSysTemp SASLCode = 4 // transient system error
)

// SASLRequest is what a client sent to authenticate.
type SASLRequest struct {
	Conn      *Conn  // for the TLS state and the address; not opened yet
	Mechanism string // one of Config.Mechanisms
	Response  []byte // the initial response; a secret: never log it
	Hostname  string // the host name of sasl-init, often empty
}

// StateKind names a delivery state.
type StateKind uint8

// The delivery states (AMQP 1.0 part 3, 3.4).
const (
	None     StateKind = iota // no state given, or one we do not know
	Accepted                  // amqp:accepted:list
	Rejected                  // amqp:rejected:list
	Released                  // amqp:released:list
	Modified                  // amqp:modified:list
	Received                  // amqp:received:list, not an outcome
)

// State is a delivery state.
type State struct {
	Kind  StateKind
	Error *Error // of Rejected; nil: none

	// Of Modified.
	DeliveryFailed    bool
	UndeliverableHere bool
	Annotations       Map
}

// Terminal reports whether the state is an outcome.
func (s State) Terminal() bool { return s.Kind >= Accepted && s.Kind <= Modified }

// Terminus is the source or the target of a link.
type Terminus struct {
	Address               string // empty: none
	Durable               uint32
	ExpiryPolicy          Symbol
	Timeout               uint32
	Dynamic               bool
	DynamicNodeProperties any

	// Of a source only. Filter's keys are symbols, its values usually *Described.
	DistributionMode Symbol
	Filter           Map
	DefaultOutcome   any
	Outcomes         any

	Capabilities any // nil, a Symbol or an Array of them
}

// SndSettleMode says how the sender of a link settles.
type SndSettleMode uint8

// The sender settle modes.
const (
	SndUnsettled SndSettleMode = 0
	SndSettled   SndSettleMode = 1
	SndMixed     SndSettleMode = 2
)

// RcvSettleMode says when the receiver of a link settles.
type RcvSettleMode uint8

// The receiver settle modes.
const (
	RcvFirst  RcvSettleMode = 0 // by itself
	RcvSecond RcvSettleMode = 1 // after the sender did
)

// Role is the part that the client plays on a link.
type Role uint8

// The roles.
const (
	ClientSends    Role = iota // messages come in
	ClientReceives             // messages go out
)

// RemoteOpen is what the peer's OPEN said.
type RemoteOpen struct {
	ContainerID  string
	Hostname     string
	MaxFrameSize uint32        // 4294967295 if it said none
	ChannelMax   uint16        // 65535 if it said none
	IdleTimeout  time.Duration // 0 if it said none
	Properties   Fields
}

// SendOptions are the details of one message to send. Nil: all zero values.
type SendOptions struct {
	Tag     []byte // delivery tag, at most 32 bytes. Nil: a counter of the link.
	Settled bool   // sent settled if the link's mode is mixed
	Format  uint32 // message format
	Value   any    // kept in Outgoing.Value for the caller
}
