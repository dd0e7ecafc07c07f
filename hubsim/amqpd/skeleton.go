package amqpd

import (
	"context"
	"crypto/tls"
	"net"
)

// Serve runs one connection until it ends and closes conn. When ctx ends the
// peer is told with amqp:connection:forced. It returns nil after an orderly
// close by either side, the *Error with which either side closed, or what broke
// the connection.
func Serve(ctx context.Context, conn net.Conn, cfg *Config) error { panic("soon") }

// Conn is one connection.
type Conn struct{}

// Identity returns what Config.Authenticate returned; nil without SASL.
func (c *Conn) Identity() any { panic("soon") }

// Mechanism returns the SASL mechanism; empty without SASL.
func (c *Conn) Mechanism() string { panic("soon") }

// Remote returns what the peer's OPEN said. It is empty before Handler.Opened.
func (c *Conn) Remote() RemoteOpen { panic("soon") }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { panic("soon") }

// NetConn returns the connection given to Serve, to be looked at only.
func (c *Conn) NetConn() net.Conn { panic("soon") }

// TLS returns the TLS state if the connection given to Serve has one, otherwise nil.
func (c *Conn) TLS() *tls.ConnectionState { panic("soon") }

// Close starts an orderly close with err, which may be nil, after all that was
// written so far. Later calls do nothing.
func (c *Conn) Close(err *Error) { panic("soon") }

// Drop cuts the connection without a word.
func (c *Conn) Drop() { panic("soon") }

// Done is closed when the connection has ended and Handler.Closed returned.
func (c *Conn) Done() <-chan struct{} { panic("soon") }

// SetValue keeps a value of the handler's with the connection.
func (c *Conn) SetValue(v any) { panic("soon") }

// Value returns what SetValue was given last.
func (c *Conn) Value() any { panic("soon") }

// Session is one session of a connection.
type Session struct{}

// Conn returns the session's connection.
func (s *Session) Conn() *Conn { panic("soon") }

// Channel returns the session's channel number.
func (s *Session) Channel() uint16 { panic("soon") }

// End ends the session and its links with err, which may be nil.
func (s *Session) End(err *Error) { panic("soon") }

// SetIncomingWindow announces another incoming window and keeps to it. Zero
// forbids the peer to send transfers on the session.
func (s *Session) SetIncomingWindow(n uint32) { panic("soon") }

// Link is one link. The exported fields are set before Handler.Attach, which
// may change those that say so; nothing changes them afterwards.
type Link struct {
	Name string
	Role Role

	Source     *Terminus // nil: the peer gave none. Attach may change it: it is echoed.
	Target     *Terminus // nil: the peer gave none. Attach may change it: it is echoed.
	Properties Fields    // the peer's

	SndSettleMode SndSettleMode // what the peer asked; Attach may change it
	RcvSettleMode RcvSettleMode // what the peer asked; Attach may change it

	ReplyProperties Fields // Attach may set them for our ATTACH
	MaxMessageSize  uint64 // what the peer accepts; 0: any

	OfferedCapabilities any // the peer's: nil, a Symbol or an Array
	DesiredCapabilities any // the peer's: nil, a Symbol or an Array
}

// Address returns the address that names our side of the link: of the target
// when the client sends, of the source when it receives.
func (l *Link) Address() string { panic("soon") }

// Conn returns the link's connection.
func (l *Link) Conn() *Conn { panic("soon") }

// Session returns the link's session.
func (l *Link) Session() *Session { panic("soon") }

// SetValue keeps a value of the handler's with the link.
func (l *Link) SetValue(v any) { panic("soon") }

// Value returns what SetValue was given last.
func (l *Link) Value() any { panic("soon") }

// GrantCredit lets a client that sends have n messages under way to us and
// keeps it so as they arrive. Zero stops it; messages already permitted may
// still come. It does nothing on a link on which the client receives.
func (l *Link) GrantCredit(n uint32) { panic("soon") }

// Credit returns how many messages may be sent to the client now. It is zero
// while the connection's outbound buffer is full; Handler.Credit is called
// when it has room again.
func (l *Link) Credit() int { panic("soon") }

// SetAvailable sets the number of waiting messages that our FLOWs tell the peer.
func (l *Link) SetAvailable(n uint32) { panic("soon") }

// Send sends an encoded message to a client that receives, using one credit.
// The payload is the link's from then on and must not be changed. It is cut
// into frames as the peer needs and waits in memory while the session's
// window is closed. The error is ErrNoCredit, ErrDetached, or an *Error with
// amqp:link:message-size-exceeded or amqp:invalid-field; the message is then not sent.
func (l *Link) Send(payload []byte, o *SendOptions) (*Outgoing, error) { panic("soon") }

// Detach closes the link with err, which may be nil. Later calls do nothing.
func (l *Link) Detach(err *Error) { panic("soon") }

// Incoming is a message that the client sent.
type Incoming struct {
	Tag     []byte
	Format  uint32
	Settled bool   // sent settled: nothing is to be settled
	Payload []byte // the handler's to keep
}

// Link returns the link on which the message came.
func (d *Incoming) Link() *Link { panic("soon") }

// Settle tells the client the outcome. Later calls, and calls after the link
// is gone or for a message that came settled, do nothing.
func (d *Incoming) Settle(s State) { panic("soon") }

// Outgoing is a message sent to the client.
type Outgoing struct {
	Tag   []byte
	Value any // from SendOptions
}

// Link returns the link on which the message went.
func (o *Outgoing) Link() *Link { panic("soon") }

// Settle ends an unsettled delivery from our side and tells the client. A
// state of kind None repeats what the client said last. Calls for a settled
// delivery do nothing.
func (o *Outgoing) Settle(s State) { panic("soon") }
