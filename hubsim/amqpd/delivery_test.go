package amqpd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAbortedAndSettledTransfers(t *testing.T) {
	t.Parallel()
	got := make(chan *Incoming, 10)
	p := newRaw(t, Config{}, &node{message: func(_ *Link, d *Incoming) {
		got <- d
		d.Settle(State{Kind: Accepted})
	}})
	p.open()
	p.begin(0)
	p.attachSender(0, 0, "s")
	p.transfer(0, 0, []byte("half"), true)
	p.send(0, uint64(codeTransfer), uint32(0), nil, nil, nil, nil, nil, nil, nil, nil, true) // aborted
	p.transfer(0, 1, []byte("one "), true)
	p.sendPayload(0, []byte("two"), uint64(codeTransfer), uint32(0), nil, nil, nil, true) // settled in the last frame
	p.transfer(0, 2, []byte("three"), false)
	for _, want := range []Incoming{{Payload: []byte("one two"), Settled: true, Tag: []byte{1}}, {Payload: []byte("three"), Tag: []byte{2}}} {
		d := <-got
		if string(d.Payload) != string(want.Payload) || d.Settled != want.Settled || string(d.Tag) != string(want.Tag) {
			t.Errorf("got %+v, want %+v", d, want)
		}
	}
	f := p.expect(codeDisposition)
	if diff := cmp.Diff(f.fields, []any{true, uint32(2), nil, true, &Described{uint64(codeAccepted), []any{}}}); diff != "" {
		t.Errorf("disposition: got - want +\n%s", diff)
	}
}

// TestSenderSettlesLast attaches a link in receiver settle mode second on which
// the client sends.
func TestSenderSettlesLast(t *testing.T) {
	t.Parallel()
	p := newRaw(t, Config{}, &node{})
	p.open()
	p.begin(0)
	p.send(0, uint64(codeAttach), "s", uint32(0), false, uint8(0), uint8(1), nil, nil, nil, nil, uint32(0))
	if a := p.expect(codeAttach); a.fields[3] != uint8(0) || a.fields[4] != uint8(1) {
		t.Errorf("settle modes are not echoed: %v", a.fields)
	}
	p.expect(codeFlow)
	p.transfer(0, 0, nil, false)
	f := p.expect(codeDisposition)
	if diff := cmp.Diff(f.fields, []any{true, uint32(0), nil, nil, &Described{uint64(codeAccepted), []any{}}}); diff != "" {
		t.Errorf("disposition: got - want +\n%s", diff)
	}
	p.transfer(0, 1, nil, false)
	p.expect(codeDisposition)
	p.send(0, uint64(codeDisposition), false, uint32(0), uint32(1), true)
	p.transfer(0, 0, nil, false) // the delivery-id is free again
	p.expect(codeDisposition)
}

// TestDispositionRanges settles in ranges, across the wrap of the ids, with
// unknown ids among them and ranges far wider than what there is.
func TestDispositionRanges(t *testing.T) {
	t.Parallel()
	said := make(chan string, 10)
	h := &node{
		credit: func(l *Link) {
			for _, text := range strings.Fields("a b c d e f") {
				if _, err := l.Send(nil, &SendOptions{Value: text, Settled: text == "d"}); err != nil {
					t.Errorf("send: %v", err)
				}
			}
			if _, err := l.Send(nil, nil); err != ErrNoCredit { //nolint:errorlint // Returned bare.
				t.Errorf("send without credit: %v", err)
			}
		},
		disposition: func(_ *Link, o *Outgoing, s State, settled bool) {
			text, _ := o.Value.(string)
			if !settled {
				text += "?"
				o.Settle(s)
				o.Settle(s) // does nothing
			}
			said <- text
		},
	}
	p := newRaw(t, Config{FirstID: 1<<32 - 2}, h)
	p.open()
	p.begin(0)
	p.attachReceiver(0, 0, "r")
	p.send(0, uint64(codeFlow), uint32(1<<32-2), uint32(100), uint32(0), uint32(100), uint32(0), nil, uint32(6))
	for range 6 {
		p.expect(codeTransfer)
	}
	accepted := &Described{uint64(codeAccepted), []any{}}
	p.send(0, uint64(codeDisposition), true, uint32(1<<32-1), uint32(0), true, accepted)              // b c
	p.send(0, uint64(codeDisposition), true, uint32(2), nil, false, accepted)                         // e, settled by us
	p.send(0, uint64(codeDisposition), true, uint32(1<<32-1000), uint32(1<<30), true, accepted)       // a f
	p.send(0, uint64(codeDisposition), true, uint32(0), uint32(1<<30), true, accepted)                // none is left
	p.send(0, uint64(codeDisposition), true, uint32(0), nil, true, &Described{uint64(0x34), []any{}}) // a state we do not know
	var got []string
	for range 5 {
		got = append(got, <-said)
	}
	if diff := cmp.Diff(got, []string{"b", "c", "e?", "a", "f"}); diff != "" {
		t.Errorf("got - want +\n%s", diff)
	}
	f := p.expect(codeDisposition)
	if diff := cmp.Diff(f.fields, []any{false, uint32(2), nil, true, accepted}); diff != "" {
		t.Errorf("our disposition: got - want +\n%s", diff)
	}
	p.send(0, uint64(codeClose))
	p.expect(codeClose)
	p.expectClosed()
	if n := len(said); n != 0 {
		t.Errorf("%d more dispositions", n)
	}
}

func TestSendLimits(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	h := &node{credit: func(l *Link) {
		defer close(done)
		if _, err := l.Send(make([]byte, 11), nil); AsError(err).Condition != CondMessageSizeExceeded {
			t.Errorf("too large: %v", err)
		}
		if _, err := l.Send(nil, &SendOptions{Tag: make([]byte, 33)}); AsError(err).Condition != CondInvalidField {
			t.Errorf("long tag: %v", err)
		}
		if o, err := l.Send(make([]byte, 10), nil); err != nil || len(o.Tag) != 4 || o.Link() != l {
			t.Errorf("send: %v", err)
		}
	}}
	p := newRaw(t, Config{}, h)
	p.open()
	p.begin(0)
	p.send(0, uint64(codeAttach), "r", uint32(0), true, uint8(SndSettled), nil, nil, nil, nil, nil, nil, uint64(10))
	p.expect(codeAttach)
	p.send(0, uint64(codeFlow), uint32(0), uint32(100), uint32(0), uint32(100), uint32(0), nil, uint32(6))
	<-done
	if f := p.expect(codeTransfer); f.fields[4] != true {
		t.Errorf("transfer on a link of mode settled: %v", f.fields)
	}
}

// TestFullBuffer lets a peer grant much credit and read nothing for a while:
// the credit is withheld, and comes back when the peer reads again.
func TestFullBuffer(t *testing.T) {
	t.Parallel()
	const size, n = 100_000, 60
	sent, held := 0, make(chan struct{}, 1)
	h := &node{credit: func(l *Link) {
		for ; sent < n && l.Credit() > 0; sent++ {
			if _, err := l.Send(make([]byte, size), nil); err != nil {
				t.Errorf("send: %v", err)
			}
		}
		if sent < n {
			signal(held)
		}
	}}
	p := newRaw(t, Config{}, h)
	p.open()
	p.send(0, uint64(codeBegin), nil, uint32(0), uint32(100000), uint32(100))
	p.expect(codeBegin)
	p.attachReceiver(0, 0, "r")
	gate := make(chan struct{})
	p.hold(gate)
	p.send(0, uint64(codeFlow), uint32(0), uint32(100000), uint32(0), uint32(100), uint32(0), nil, uint32(1000))
	<-held
	close(gate)
	for got := 0; got < n*size; {
		got += len(p.expect(codeTransfer).payload)
	}
}
