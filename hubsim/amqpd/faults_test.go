package amqpd

import (
	"errors"
	"slices"
	"testing"
)

// echo asks for an echo of a link, or of the session with handle nil, and returns the handle in the next flow.
func (p *raw) echo(handle any) {
	p.t.Helper()
	var count any
	if handle != nil {
		count = uint32(0)
	}
	p.send(0, uint64(codeFlow), uint32(0), uint32(100), uint32(0), uint32(100), handle, count, nil, nil, nil, true)
}

func (f received) handle() any {
	if len(f.fields) < 5 {
		return nil
	}
	return f.fields[4]
}

func TestDeafLink(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 9)
	var links []*Link
	h := &node{
		attach:   func(l *Link) error { links = append(links, l); l.GrantCredit(10); return nil },
		detached: func(_ *Link, err error) { ended <- err },
	}
	p := newRaw(t, Config{}, h)
	p.open()
	p.begin(0)
	p.attachSender(0, 0, "deaf")
	p.attachSender(0, 1, "other")
	links[0].Deafen()
	if err := <-ended; !errors.Is(err, ErrNoAnswer) {
		t.Errorf("the handler heard %v", err)
	}
	links[0].GrantCredit(20)
	links[0].Detach(nil)
	p.echo(uint32(0))
	p.transfer(0, 0, encoded(t, "x"), false)
	p.send(0, uint64(codeDetach), uint32(0), true)
	p.echo(uint32(1)) // only this is answered
	if f := p.expect(codeFlow); f.handle() != uint32(1) {
		t.Errorf("flow %v", f.fields)
	}
	p.transfer(1, 1, encoded(t, "y"), false)
	p.expect(codeDisposition)

	p.attachSender(0, 0, "again") // its DETACH was thrown away; the handle is free all the same
	p.transfer(0, 2, encoded(t, "z"), false)
	if f := p.expect(codeDisposition); f.fields[1] != uint32(2) {
		t.Errorf("disposition %v", f.fields)
	}
}

// A deaf link's handle is free also for a peer that never said DETACH.
func TestDeafLinkIsReplaced(t *testing.T) {
	t.Parallel()
	var links []*Link
	p := newRaw(t, Config{}, &node{attach: func(l *Link) error { links = append(links, l); l.GrantCredit(10); return nil }})
	p.open()
	p.begin(0)
	p.attachSender(0, 0, "s")
	links[0].Deafen()
	p.attachSender(0, 0, "s")
	p.transfer(0, 0, encoded(t, "x"), false)
	p.expect(codeDisposition)
}

func TestAttachWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	p := newRaw(t, Config{}, &node{attach: func(l *Link) error {
		if l.Name == "lost" {
			return ErrNoAnswer
		}
		l.GrantCredit(10)
		return nil
	}})
	p.open()
	p.begin(0)
	p.send(0, uint64(codeAttach), "lost", uint32(0), false, nil, nil,
		&Described{uint64(codeSource), []any{}}, &Described{uint64(codeTarget), []any{"lost"}}, nil, nil, uint32(0))
	p.send(0, uint64(codeDetach), uint32(0), true)
	p.attachSender(0, 0, "found")
	p.transfer(0, 0, encoded(t, "x"), false)
	p.expect(codeDisposition)
}

func TestSuspend(t *testing.T) {
	t.Parallel()
	links := make(chan *Link, 1)
	p := newRaw(t, Config{}, &node{attach: func(l *Link) error { l.GrantCredit(10); links <- l; return nil }})
	p.open()
	p.begin(0)
	p.attachSender(0, 0, "s")
	(<-links).Suspend(&Error{Condition: CondDetachForced})
	f := p.expect(codeDetach)
	if len(f.fields) > 1 && f.fields[1] == true || f.condition(2) != CondDetachForced {
		t.Errorf("detach %v", f.fields)
	}
}

func TestSettleAnyway(t *testing.T) {
	t.Parallel()
	held := make(chan *Incoming, 3)
	p := newRaw(t, Config{}, &node{message: func(_ *Link, d *Incoming) { held <- d }})
	p.open()
	p.begin(0)
	p.attachSender(0, 0, "s")
	for id := range uint32(3) {
		p.transfer(0, id, encoded(t, "x"), false)
	}
	all := []*Incoming{<-held, <-held, <-held}
	all[0].SettleAnyway(State{Kind: Accepted})
	p.expect(codeDisposition)
	all[1].Link().Detach(nil)
	p.expect(codeDetach)
	all[0].SettleAnyway(State{Kind: Accepted}) // settled
	all[1].Settle(State{Kind: Accepted})       // too late
	all[2].SettleAnyway(State{Kind: Accepted})
	all[2].SettleAnyway(State{Kind: Accepted}) // settled
	if f := p.expect(codeDisposition); f.fields[1] != uint32(2) {
		t.Errorf("disposition %v", f.fields)
	}
	p.echo(nil)
	p.expect(codeFlow)
}

func TestMuteEcho(t *testing.T) {
	t.Parallel()
	conns := make(chan *Conn, 1)
	p := newRaw(t, Config{}, &node{opened: func(c *Conn) error { conns <- c; c.MuteEcho(true); return nil }})
	p.open()
	p.begin(0)
	p.attachSender(0, 0, "s")
	p.attachReceiver(0, 1, "r")
	for _, handle := range []any{nil, uint32(0), uint32(1)} {
		p.echo(handle)
	}
	// A drain is answered.
	p.send(0, uint64(codeFlow), uint32(0), uint32(100), uint32(0), uint32(100), uint32(1), uint32(0), uint32(5), nil, true)
	if f := p.expect(codeFlow); f.handle() != uint32(1) || !slices.Contains(f.fields, any(uint32(5))) {
		t.Errorf("flow %v, want the drained credit", f.fields)
	}
	(<-conns).MuteEcho(false)
	p.echo(uint32(0))
	if f := p.expect(codeFlow); f.handle() != uint32(0) {
		t.Errorf("flow %v", f.fields)
	}
}
