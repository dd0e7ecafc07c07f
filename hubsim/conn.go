package hubsim

import (
	"bytes"
	"context"
	"time"

	"iotagent/hubsim/amqpd"
)

// conn is one client connection: what it may do and what it has attached.
type conn struct {
	s      *Server
	wire   *amqpd.Conn
	plain  bool              // authenticated by SASL PLAIN: the token is bound to the connection
	grants map[string]*grant // by identity or resource
	links  map[*link]bool
	// unjudged are the tokens that Options.TokensAtAttach took by their shape, by resource.
	unjudged map[string]string
	// replies wait here until the client's receiver at that node has credit.
	replies map[place][]reply
}

// place is a node that answers requests; a device's is its own.
type place struct {
	node     node
	identity string // "" for the hub's
}

// link is one attached link.
type link struct {
	wire *amqpd.Link
	conn *conn
	addr address
	seq  uint64 // order of attaching
	// Of a partition receiver: where it stands, and its rank.
	next  int64
	epoch *int64
	// Of a twin's sender: whether it has asked for changes of the desired properties.
	subscribed bool
}

func (l *link) place() place { return place{l.addr.node, l.addr.identity()} }

func (l *link) receives() bool { return l.wire.Role == amqpd.ClientReceives }

// authenticate judges a SASL exchange. Only PLAIN proves anything; after the others CBS follows.
func (s *Server) authenticate(_ context.Context, req *amqpd.SASLRequest) (any, amqpd.SASLCode) {
	if req.Mechanism != "PLAIN" {
		return nil, amqpd.SASLOK
	}
	parts := bytes.SplitN(req.Response, []byte{0}, 3)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(parts) != 3 {
		return nil, amqpd.SASLCode(s.opts.SASLFailure)
	}
	g, err := s.plainLocked(string(parts[1]), string(parts[2]))
	if err != nil {
		s.opts.Logger.Info("credentials refused", "mechanism", "PLAIN", "user", string(parts[1]), "error", err)
		return nil, amqpd.SASLCode(s.opts.SASLFailure)
	}
	return g, amqpd.SASLOK
}

// handler gives the Server's callbacks to amqpd without showing them in the Server's API.
type handler struct{ s *Server }

// Opened makes the connection known.
func (h *handler) Opened(wire *amqpd.Conn) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.s.closed {
		return &amqpd.Error{Condition: condForced, Description: "hub is closing"}
	}
	if err := h.s.takeOpenFaultLocked(); err != nil {
		return err
	}
	c := &conn{s: h.s, wire: wire, grants: map[string]*grant{}, links: map[*link]bool{}, unjudged: map[string]string{}, replies: map[place][]reply{}}
	wire.SetValue(c)
	h.s.conns[c] = true
	wire.MuteEcho(h.s.faults.muteEcho)
	if g, ok := wire.Identity().(*grant); ok {
		c.plain = true
		c.addGrantLocked("", g)
	}
	h.s.noteLocked()
	return nil
}

// Attach decides about a new link.
func (h *handler) Attach(wire *amqpd.Link) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	c, ok := wire.Conn().Value().(*conn)
	if !ok {
		return &amqpd.Error{Condition: amqpd.CondInternalError}
	}
	if h.s.deafLocked(wire) {
		return amqpd.ErrNoAnswer
	}
	err := c.attachLocked(wire)
	h.s.noteLocked()
	if err != nil {
		h.s.opts.Logger.Info("link refused", "address", wire.Address(), "condition", string(err.Condition), "description", err.Description)
		return err
	}
	return nil
}

// Message hands an incoming message to the node it was sent to.
func (h *handler) Message(wire *amqpd.Link, d *amqpd.Incoming) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	l, ok := wire.Value().(*link)
	if !ok {
		return
	}
	switch l.addr.node {
	case nodeCBS:
		l.conn.putTokenLocked(d)
	case nodeManagement:
		l.conn.manageLocked(d)
	case nodeTelemetry:
		h.s.telemetryLocked(l, d)
	case nodeSend:
		h.s.serviceSendLocked(d)
	case nodeDeviceFeedback:
		l.conn.deviceFeedbackLocked(l, d)
	case nodeTwin:
		h.s.twinRequestLocked(l, d)
	case nodeMethods:
		h.s.methodResponseLocked(l, d)
	default:
		d.Settle(rejected(condNotAllowed, "nothing can be sent here"))
	}
	h.s.noteLocked()
}

// Credit sends what waits for the link.
func (h *handler) Credit(wire *amqpd.Link) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if l, ok := wire.Value().(*link); ok {
		h.s.pumpLocked(l)
		h.s.noteLocked()
	}
}

// Disposition settles a command or a feedback message.
func (h *handler) Disposition(wire *amqpd.Link, o *amqpd.Outgoing, state amqpd.State, settled bool) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	l, ok := wire.Value().(*link)
	if !ok {
		return
	}
	switch l.addr.node {
	case nodeCommands:
		if h.s.settlementLostLocked(state) {
			return
		}
		if d := h.s.devices[l.addr.identity()]; d != nil {
			settleFrom(d.commands, o, state, settled)
		} else if !settled {
			o.Settle(lockLost())
		}
	case nodeFeedback:
		settleFrom(h.s.feedback.queue, o, state, settled)
	default:
		if !settled && state.Terminal() {
			o.Settle(state)
		}
	}
	h.s.noteLocked()
}

// Detached forgets a link.
func (h *handler) Detached(wire *amqpd.Link, _ error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if l, ok := wire.Value().(*link); ok {
		h.s.forgetLocked(l)
		h.s.noteLocked()
	}
}

// Closed forgets a connection.
func (h *handler) Closed(wire *amqpd.Conn, _ error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	c, ok := wire.Value().(*conn)
	if !ok {
		return
	}
	for l := range c.links {
		h.s.forgetLocked(l)
	}
	for _, g := range c.grants {
		g.timer.Stop()
	}
	for _, d := range h.s.devices {
		if d.conn == c {
			d.conn, d.connChanged = nil, h.s.opts.Now()
		}
	}
	delete(h.s.conns, c)
	h.s.noteLocked()
}

// forgetLocked takes a link out of every list; it may be called twice.
func (s *Server) forgetLocked(l *link) {
	delete(l.conn.links, l)
	if l.receives() { // what waits was for this one
		delete(l.conn.replies, l.place())
	}
	for _, p := range s.partitions {
		delete(p.readers, l)
	}
}

// detachLocked detaches a link and forgets it at once, so that nothing more is sent on it.
func (s *Server) detachLocked(l *link, condition, description string) {
	s.forgetLocked(l)
	l.wire.Detach(&amqpd.Error{Condition: amqpd.Symbol(condition), Description: description})
}

// addGrantLocked puts a grant into force, in place of an older one for the same key, until its token ends.
func (c *conn) addGrantLocked(key string, g *grant) {
	if old := c.grants[key]; old != nil {
		old.timer.Stop()
	}
	c.grants[key] = g
	if g.expires.IsZero() { // a policy's key itself, or a certificate
		g.timer = time.NewTimer(0)
		g.timer.Stop()
		return
	}
	g.timer = time.AfterFunc(g.expires.Sub(c.s.opts.Now())+c.s.opts.TokenGrace, func() {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		if c.grants[key] == g {
			c.expireLocked(key)
		}
	})
}

// expireLocked ends what an old token allowed: its links or, with SASL PLAIN, the connection.
func (c *conn) expireLocked(key string) {
	delete(c.grants, key)
	if c.plain {
		c.wire.Close(&amqpd.Error{Condition: condUnauthorized, Description: "Token Invalid."})
		return
	}
	for l := range c.links {
		if !c.allowedLocked(l.addr) {
			c.s.detachLocked(l, condUnauthorized, "Token Invalid.")
		}
	}
	c.s.noteLocked()
}

func (c *conn) allowedLocked(a address) bool {
	return a.node == nodeCBS || c.grantLocked(a) != nil
}

// grantLocked returns what opens an address: the identity's own token before a policy's.
func (c *conn) grantLocked(a address) *grant {
	var found *grant
	for _, g := range c.grants {
		if g.allows(a) && (found == nil || g.device != "") {
			found = g
		}
	}
	return found
}

// cutDeviceLocked takes a device's rights and its modules', or one module's, away on every connection.
func (s *Server) cutDeviceLocked(id, condition, description string) {
	for c := range s.conns {
		for key, g := range c.grants {
			if within(g.device, id) {
				g.timer.Stop()
				delete(c.grants, key)
				if c.plain {
					c.wire.Close(&amqpd.Error{Condition: amqpd.Symbol(condition), Description: description})
				}
			}
		}
		for l := range c.links {
			if within(l.addr.identity(), id) {
				s.detachLocked(l, condition, description)
			}
		}
	}
	s.noteLocked()
}

func rejected(condition, description string) amqpd.State {
	return amqpd.State{Kind: amqpd.Rejected, Error: &amqpd.Error{Condition: amqpd.Symbol(condition), Description: description}}
}

// authMethodLocked says how a link's identity proved itself, as events tell it ("Anti-spoofing properties" of IoT Hub's documentation).
func (c *conn) authMethodLocked(a address) string {
	scope := "device"
	if a.module != "" {
		scope = "module"
	}
	kind, issuer := "sas", "iothub"
	switch g := c.grantLocked(a); {
	case g == nil:
	case g.x509:
		kind, issuer = "x509", "external"
	case g.device == "":
		scope = "hub"
	}
	return `{"scope":"` + scope + `","type":"` + kind + `","issuer":"` + issuer + `","acceptingIpFilterRule":null}`
}
