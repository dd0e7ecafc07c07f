package amqpd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
)

func TestAttachDetails(t *testing.T) {
	t.Parallel()
	links := make(chan *Link, 1)
	h := &node{attach: func(l *Link) error {
		l.ReplyProperties = Fields{{"com.microsoft:x", int64(5)}}
		l.RcvSettleMode = RcvSecond
		links <- l
		return nil
	}}
	_, s, _ := dial(t, Config{}, h, nil)
	rcv, err := s.NewReceiver(within(t), "/devices/d/messages/devicebound", &amqp.ReceiverOptions{
		Name: "mine", TargetAddress: "reply", Properties: map[string]any{"com.microsoft:client-version": "test/1"},
		Filters: []amqp.LinkFilter{amqp.NewSelectorFilter("a > 1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	l := <-links
	wantFilter := Map{{Symbol("apache.org:selector-filter:string"), &Described{uint64(0x0000468C00000004), "a > 1"}}}
	if l.Name != "mine" || l.Role != ClientReceives || l.Address() != "/devices/d/messages/devicebound" ||
		l.Target.Address != "reply" || l.Properties.String("com.microsoft:client-version") != "test/1" {
		t.Errorf("link %+v", l)
	}
	if diff := cmp.Diff(l.Source.Filter, wantFilter); diff != "" {
		t.Errorf("filter: got - want +\n%s", diff)
	}
	if v := rcv.LinkSourceFilterValue("apache.org:selector-filter:string"); v != "a > 1" {
		t.Errorf("the filter was echoed as %v", v)
	}
	if diff := cmp.Diff(rcv.Properties(), map[string]any{"com.microsoft:x": int64(5)}); diff != "" {
		t.Errorf("properties: got - want +\n%s", diff)
	}
	l.SetValue("v")
	if l.Value() != "v" || l.Conn() != l.Session().Conn() || l.Credit() < 0 {
		t.Error("value or connection is lost")
	}
}

func TestRefusedAttach(t *testing.T) {
	t.Parallel()
	redirect := &Error{Condition: CondLinkRedirect, Description: "over there", Info: Fields{
		{"hostname", "ns"}, {"network-host", "127.0.0.1"}, {"port", int32(5671)}, {"address", "amqps://ns:5671/eh"},
	}}
	h := &node{
		attach: func(l *Link) error {
			if l.Role == ClientSends {
				return errors.New("something private")
			}
			return redirect
		},
		detached: func(*Link, error) { t.Error("Detached was called for a link that was refused") },
	}
	_, s, _ := dial(t, Config{}, h, nil)
	_, err := s.NewReceiver(within(t), "messages/events", nil)
	want := &amqp.Error{Condition: amqp.ErrCondLinkRedirect, Description: "over there", Info: map[string]any{
		"hostname": "ns", "network-host": "127.0.0.1", "port": int32(5671), "address": "amqps://ns:5671/eh",
	}}
	var got *amqp.Error
	if !errors.As(err, &got) || cmp.Diff(got, want) != "" {
		t.Errorf("receiver: %v", err)
	}
	_, err = s.NewSender(within(t), "x", nil)
	if !errors.As(err, &got) || got.Condition != amqp.ErrCondInternalError || strings.Contains(err.Error(), "private") {
		t.Errorf("sender: %v", err)
	}
}

func TestRefusedAttachFrames(t *testing.T) {
	t.Parallel()
	p := newRaw(t, Config{}, &node{attach: func(l *Link) error {
		l.GrantCredit(5)
		l.Detach(nil) // too early to matter
		return &Error{Condition: CondNotFound}
	}})
	p.open()
	p.begin(0)
	p.send(0, uint64(codeAttach), "n", uint32(4), false, nil, nil,
		&Described{uint64(codeSource), []any{"s"}}, &Described{uint64(codeTarget), []any{"t"}}, nil, nil, uint32(0))
	a := p.expect(codeAttach)
	if a.fields[5] != nil || a.fields[6] != nil {
		t.Errorf("attach has source %v, target %v", a.fields[5], a.fields[6])
	}
	d := p.expect(codeDetach)
	if d.condition(2) != CondNotFound || d.fields[1] != true {
		t.Errorf("detach %v", d.fields)
	}
	p.send(0, uint64(codeDetach), uint32(4), true)
	// A second link of the same name and direction in one session.
	q := newRaw(t, Config{}, &node{})
	q.open()
	q.begin(0)
	q.attachSender(0, 0, "s")
	q.send(0, uint64(codeAttach), "s", uint32(1), false, nil, nil, nil, nil, nil, nil, uint32(0))
	q.expect(codeAttach)
	if d := q.expect(codeDetach); d.condition(2) != CondResourceLocked {
		t.Errorf("detach %v", d.fields)
	}
	q.send(0, uint64(codeAttach), "s", uint32(2), true) // the other direction is another link
	q.expect(codeAttach)
}

func TestDetachWithError(t *testing.T) {
	t.Parallel()
	links := make(chan *Link, 4)
	gone := make(chan error, 4)
	h := &node{
		attach:   func(l *Link) error { links <- l; return nil },
		detached: func(_ *Link, err error) { gone <- err },
	}
	_, s, _ := dial(t, Config{}, h, nil)
	rcv, err := s.NewReceiver(within(t), "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	l := <-links
	why := &Error{Condition: CondDetachForced, Description: "Server Busy"}
	l.Detach(why)
	l.Detach(nil)
	var remote *amqp.Error
	if _, err := rcv.Receive(within(t), nil); !errors.As(err, &remote) || remote.Condition != amqp.ErrCondDetachForced {
		t.Errorf("receive: %v", err)
	}
	if err := <-gone; !errors.Is(err, why) {
		t.Errorf("detached: %v", err)
	}
	if _, err := l.Send(nil, nil); !errors.Is(err, ErrDetached) {
		t.Errorf("send: %v", err)
	}
	// The session goes on; an orderly detach by the client tells no error.
	snd, err := s.NewSender(within(t), "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := snd.Close(within(t)); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-gone; err != nil {
		t.Errorf("detached: %v", err)
	}
	// So does the end of the session, here by the server.
	if _, err = s.NewSender(within(t), "x", nil); err != nil {
		t.Fatal(err)
	}
	<-links
	(<-links).Session().End(why)
	if err := <-gone; !errors.Is(err, why) {
		t.Errorf("detached: %v", err)
	}
}

func TestSuspendingDetach(t *testing.T) {
	t.Parallel()
	p := newRaw(t, Config{}, &node{})
	p.open()
	p.begin(3)
	p.attachSender(3, 9, "s")
	p.send(3, uint64(codeDetach), uint32(9), false, &Described{uint64(codeError), []any{Symbol("a:b")}})
	if d := p.expect(codeDetach); len(d.fields) != 1 {
		t.Errorf("detach %v", d.fields)
	}
}

// TestIncomingWindow stops and restarts the client's session window: go-amqp's
// Send waits, whatever the link's credit.
func TestIncomingWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		links := make(chan *Link, 1)
		got := 0
		h := &node{
			attach: func(l *Link) error {
				l.Session().SetIncomingWindow(0)
				l.GrantCredit(100)
				links <- l
				return nil
			},
			message: func(_ *Link, d *Incoming) { got++; d.Settle(State{Kind: Accepted}) },
		}
		_, s, _ := dial(t, Config{}, h, nil)
		snd, err := s.NewSender(t.Context(), "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() { sent <- snd.Send(context.WithoutCancel(t.Context()), amqp.NewMessage([]byte("x")), nil) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got != 0 {
			t.Errorf("%d messages came through a window of 0", got)
		}
		(<-links).Session().SetIncomingWindow(10)
		if err := <-sent; err != nil || got != 1 {
			t.Errorf("send: %v; %d messages", err, got)
		}
	})
}

// TestOutgoingWindow lets the peer close its session window in the middle of a message.
func TestOutgoingWindow(t *testing.T) {
	t.Parallel()
	links := make(chan *Link, 1)
	h := &node{credit: func(l *Link) { links <- l }}
	p := newRaw(t, Config{FirstID: 1<<32 - 2}, h)
	p.send(0, uint64(codeOpen), "raw", "host", uint32(512))
	p.expect(codeOpen)
	p.send(0, uint64(codeBegin), nil, uint32(0), uint32(0), uint32(100))
	p.expect(codeBegin)
	p.attachReceiver(0, 0, "r")
	flow := func(next, window, credit uint32, drain bool) {
		p.send(0, uint64(codeFlow), next, window, uint32(0), uint32(0), uint32(0), uint32(1<<32-2), credit, nil, drain)
	}
	flow(1<<32-2, 0, 3, false)
	l := <-links
	for _, tag := range []string{"a", "b"} {
		if _, err := l.Send(make([]byte, 900), &SendOptions{Tag: []byte(tag), Format: 7}); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.Credit(); n != 1 {
		t.Errorf("credit is %d, want 1", n)
	}
	flow(1<<32-2, 1, 3, true) // the drain waits for what is queued
	<-links
	f := p.expect(codeTransfer)
	if diff := cmp.Diff(f.fields, []any{uint32(0), uint32(1<<32 - 2), []byte("a"), uint32(7), nil, true}); diff != "" || len(f.bytes) > 512 {
		t.Errorf("%d bytes; got - want +\n%s", len(f.bytes), diff)
	}
	size := len(f.payload)
	p.send(0, uint64(codeFlow), uint32(1<<32-1), uint32(100), uint32(0), uint32(0))
	for size < 900 {
		f = p.expect(codeTransfer)
		size += len(f.payload)
	}
	if f = p.expect(codeTransfer); f.fields[1] != uint32(1<<32-1) {
		t.Errorf("second delivery %v", f.fields)
	}
	for len(f.fields) > 5 && f.fields[5] == true {
		f = p.expect(codeTransfer)
	}
	end := p.expect(codeFlow)
	if diff := cmp.Diff(end.fields[4:9], []any{uint32(0), uint32(1), uint32(0), uint32(0), true}); diff != "" {
		t.Errorf("flow: got - want +\n%s", diff)
	}
}

func TestEcho(t *testing.T) {
	t.Parallel()
	p := newRaw(t, Config{OmitNextIncomingID: true}, &node{attach: func(l *Link) error {
		l.GrantCredit(9)
		l.SetAvailable(4)
		return nil
	}})
	p.open()
	p.begin(0)
	p.attachSender(0, 0, "s")
	p.attachReceiver(0, 1, "r")
	p.send(0, uint64(codeFlow), uint32(0), uint32(5), uint32(0), uint32(5), nil, nil, nil, nil, nil, true)
	if f := p.expect(codeFlow); f.fields[0] != nil || len(f.fields) != 4 {
		t.Errorf("session flow %v", f.fields)
	}
	p.send(0, uint64(codeFlow), uint32(0), uint32(5), uint32(0), uint32(5), uint32(0), uint32(0), nil, nil, nil, true)
	if f := p.expect(codeFlow); cmp.Diff(f.fields[4:], []any{uint32(0), uint32(0), uint32(9)}) != "" {
		t.Errorf("flow %v", f.fields)
	}
	p.send(0, uint64(codeFlow), uint32(0), uint32(5), uint32(0), uint32(5), uint32(1), uint32(0), uint32(3), nil, nil, true)
	if f := p.expect(codeFlow); cmp.Diff(f.fields[4:], []any{uint32(1), uint32(0), uint32(3), uint32(4)}) != "" {
		t.Errorf("flow %v", f.fields)
	}
}
