package amqpd

// linkState says where a link is in its life.
type linkState uint8

const (
	linkAttaching linkState = iota // the handler has not decided yet
	linkAttached
	linkDetachSent // waits for the peer's DETACH, throws away the rest
	linkGone
)

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

	s          *Session
	peerHandle uint32
	handle     uint32

	// Guarded by Conn.mu.
	state         linkState
	announced     bool // Attach returned nil: Detached is owed
	toDetach      bool // Detach was called before the attach was answered
	deaf          bool // lost without a word: see Deafen
	detachErr     *Error
	value         any
	deliveryCount uint32
	credit        uint32 // what the sender may still send
	available     uint32

	// Of a link on which the client sends.
	window   uint32 // the credit to keep up
	furthest uint32 // the highest delivery-count ever permitted
	partial  *Incoming

	// Of a link on which the client receives.
	nextTag      uint32
	queued       int  // deliveries of the link in Session.pending
	creditPosted bool // a Credit callback is on its way
	drain        bool // the client wants the credit used or given back
	drainDue     bool // the handler had its turn: only queued deliveries are awaited
}

// Address returns the address that names our side of the link: of the target
// when the client sends, of the source when it receives.
func (l *Link) Address() string {
	t := l.Target
	if l.Role == ClientReceives {
		t = l.Source
	}
	if t == nil {
		return ""
	}
	return t.Address
}

// Conn returns the link's connection.
func (l *Link) Conn() *Conn { return l.s.c }

// Session returns the link's session.
func (l *Link) Session() *Session { return l.s }

// SetValue keeps a value of the handler's with the link.
func (l *Link) SetValue(v any) {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	l.value = v
}

// Value returns what SetValue was given last.
func (l *Link) Value() any {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	return l.value
}

// SetAvailable sets the number of waiting messages that our FLOWs tell the peer.
func (l *Link) SetAvailable(n uint32) {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	l.available = n
}

// Detach closes the link with err, which may be nil. Later calls do nothing.
func (l *Link) Detach(err *Error) {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	if l.state == linkAttaching {
		if !l.toDetach {
			l.toDetach, l.detachErr = true, err
		}
		return
	}
	l.detach(err)
}

// detach closes the link from our side. mu is held.
func (l *Link) detach(err *Error) {
	l.detachAs(true, err)
}

// detachAs is detach, closing the link or not. mu is held.
func (l *Link) detachAs(closed bool, err *Error) {
	if l.state != linkAttached || l.s.c.closeSent {
		return
	}
	l.s.send(&detachFrame{handle: l.handle, closed: closed, err: err})
	l.state = linkDetachSent
	if err == nil {
		l.release(nil)
	} else {
		l.release(err)
	}
}

// release lets go of the link's deliveries and tells the handler, once. mu is held.
func (l *Link) release(err error) {
	s := l.s
	if l.state != linkDetachSent {
		l.state = linkGone
	}
	if l.partial != nil {
		s.c.partialBytes -= len(l.partial.Payload)
		l.partial = nil
	}
	s.unqueue(l)
	for id, d := range s.incoming {
		if d.link == l {
			delete(s.incoming, id)
		}
	}
	for id, o := range s.outgoing {
		if o.link == l {
			delete(s.outgoing, id)
		}
	}
	l.credit = 0
	s.c.checkRoom()
	if l.announced {
		l.announced = false
		s.c.post(func() { s.c.cfg.Handler.Detached(l, err) })
	}
}

// peerFlows takes the link's part of a FLOW. mu is held.
func (l *Link) peerFlows(f *flowFrame) {
	if l.Role == ClientSends {
		if f.deliveryCount.given && serialLess(l.deliveryCount, f.deliveryCount.n) {
			l.advance(f.deliveryCount.n - l.deliveryCount) // the sender let credit go
		}
		if f.echo && !l.s.c.muteEcho {
			l.s.send(l.flow())
		}
		return
	}
	if f.linkCredit.given {
		count := l.s.c.cfg.FirstID // the peer may not have got our ATTACH yet
		if f.deliveryCount.given {
			count = f.deliveryCount.n
		}
		l.credit = 0
		if end := count + f.linkCredit.n; serialLess(l.deliveryCount, end) {
			l.credit = end - l.deliveryCount
		}
	}
	l.drain, l.drainDue = f.drain, false
	if l.credit > 0 {
		l.postCredit()
	}
	if echo := f.echo && !l.s.c.muteEcho; f.drain || echo {
		l.s.c.post(func() { l.answerFlow(echo) })
	}
}

// postCredit queues a Credit callback. mu is held.
func (l *Link) postCredit() {
	if l.creditPosted {
		return
	}
	l.creditPosted = true
	l.s.c.post(func() {
		l.s.c.mu.Lock()
		l.creditPosted = false
		gone := l.state != linkAttached
		l.s.c.mu.Unlock()
		if !gone {
			l.s.c.cfg.Handler.Credit(l)
		}
	})
}

// answerFlow ends a drain and answers an echo, after the handler had its turn.
func (l *Link) answerFlow(echo bool) {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	if l.state != linkAttached {
		return
	}
	if l.drain {
		if l.drainDue = true; l.queued == 0 { // otherwise pump calls finishDrain
			l.finishDrain()
		}
		return
	}
	if echo {
		l.s.send(l.flow())
	}
}

// finishDrain gives the unused credit back (part 2, 2.6.7). mu is held.
func (l *Link) finishDrain() {
	l.deliveryCount += l.credit
	l.credit = 0
	l.s.send(l.flow())
	l.drain, l.drainDue = false, false
}

// flow makes a FLOW of the link's and the session's state. mu is held.
func (l *Link) flow() *flowFrame {
	f := l.s.flow()
	f.handle = some(l.handle)
	f.deliveryCount = some(l.deliveryCount)
	f.linkCredit = some(l.credit)
	if l.Role == ClientReceives {
		f.available = some(l.available)
		f.drain = l.drain
	}
	return f
}

// GrantCredit lets a client that sends have n messages under way to us and
// keeps it so as they arrive. Zero stops it; messages already permitted may
// still come. It does nothing on a link on which the client receives.
func (l *Link) GrantCredit(n uint32) {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	if l.Role != ClientSends {
		return
	}
	l.window = n
	if l.state == linkAttached {
		l.grant()
	}
}

// grant raises or lowers the credit to the window and tells the peer. mu is held.
func (l *Link) grant() {
	l.credit = l.window
	if end := l.deliveryCount + l.credit; serialLess(l.furthest, end) {
		l.furthest = end
	}
	l.s.send(l.flow())
}

// advance counts n deliveries of the client and renews its credit. mu is held.
func (l *Link) advance(n uint32) {
	l.deliveryCount += n
	l.credit -= min(n, l.credit)
	if l.window > 0 && l.credit <= l.window/2 {
		l.grant()
	}
}
