package amqpd

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestConnectionViolations sends what ends the connection.
func TestConnectionViolations(t *testing.T) {
	t.Parallel()
	made := func(channel uint16, code uint64, fields ...any) []byte {
		return appendFrame(nil, frameTypeAMQP, channel, nil, appendValue(nil, &Described{code, fields}))
	}
	begin := []any{nil, uint32(0), uint32(5), uint32(5)}
	for name, c := range map[string]struct {
		bytes []byte // behind open and begin on channel 0
		want  Symbol
	}{
		"frame too small":       {[]byte{0, 0, 0, 7, 2, 0, 0, 0}, CondFramingError},
		"frame too large":       {[]byte{0x7f, 0, 0, 0, 2, 0, 0, 0}, CondFramingError},
		"data offset too small": {[]byte{0, 0, 0, 8, 1, 0, 0, 0}, CondFramingError},
		"data offset too large": {[]byte{0, 0, 0, 8, 3, 0, 0, 0}, CondFramingError},
		"SASL frame":            {[]byte{0, 0, 0, 8, 2, 1, 0, 0}, CondFramingError},
		"unknown frame type":    {[]byte{0, 0, 0, 8, 2, 7, 0, 0}, CondFramingError},
		"no performative":       {[]byte{0, 0, 0, 9, 2, 0, 0, 0, fmtNull}, CondDecodeError},
		"garbage":               {[]byte{0, 0, 0, 9, 2, 0, 0, 0, 0xff}, CondDecodeError},
		"cut off":               {[]byte{0, 0, 0, 13, 2, 0, 0, 0, 0, fmtSmallUlong, codeDetach, fmtList8, 0xff}, CondDecodeError},
		"unknown performative":  {made(0, 0x99), CondDecodeError},
		"wrong type of a field": {made(0, codeDetach, true, true), CondDecodeError},
		"second open":           {made(0, codeOpen, "raw"), CondIllegalState},
		"channel in use":        {made(0, codeBegin, begin...), CondIllegalState},
		"channel above the max": {made(9000, codeBegin, begin...), CondFramingError},
		"channel without begin": {made(7, codeEnd), CondIllegalState},
		"handle above the max":  {made(0, codeAttach, "a", uint32(9000), true), CondFramingError},
	} {
		t.Run(name, func(t *testing.T) {
			p := newRaw(t, Config{}, &node{})
			p.open()
			p.begin(0)
			p.write(c.bytes)
			if f := p.expect(codeClose); f.condition(0) != c.want {
				t.Errorf("close %v, want %s", f.fields, c.want)
			}
			p.expectClosed()
		})
	}
}

// TestSessionViolations sends what ends the session but not the connection.
func TestSessionViolations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		send func(*raw)
		want Symbol
	}{
		"handle in use": {func(p *raw) {
			p.send(0, uint64(codeAttach), "other", uint32(0), true)
		}, CondHandleInUse},
		"flow on no link":     {func(p *raw) { p.send(0, uint64(codeFlow), nil, uint32(9), uint32(0), uint32(9), uint32(5)) }, CondUnattachedHandle},
		"transfer on no link": {func(p *raw) { p.transfer(5, 0, nil, false) }, CondUnattachedHandle},
		"detach of no link":   {func(p *raw) { p.send(0, uint64(codeDetach), uint32(5)) }, CondUnattachedHandle},
		"window": {func(p *raw) {
			for id := range uint32(4) {
				p.transfer(0, id, nil, false)
			}
		}, CondWindowViolation},
		"disposition backwards": {func(p *raw) { p.send(0, uint64(codeDisposition), true, uint32(5), uint32(4)) }, CondInvalidField},
	} {
		t.Run(name, func(t *testing.T) {
			h := &node{attach: func(l *Link) error {
				l.GrantCredit(100)
				return nil
			}, message: func(l *Link, _ *Incoming) { l.Session().SetIncomingWindow(0) }}
			p := newRaw(t, Config{IncomingWindow: 3}, h)
			p.open()
			p.begin(0)
			p.attachSender(0, 0, "s")
			c.send(p)
			f := p.next()
			for f.code == codeFlow {
				f = p.next()
			}
			if f.code != codeEnd || f.condition(0) != c.want {
				t.Fatalf("got 0x%x %v, want end with %s", f.code, f.fields, c.want)
			}
			p.transfer(0, 77, nil, false) // was on its way: ignored
			p.send(0, uint64(codeEnd))
			p.begin(0) // the channel is free again
		})
	}
}

// TestLinkViolations sends what detaches the link but not the session.
func TestLinkViolations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		send func(*raw)
		want Symbol
	}{
		"no credit": {func(p *raw) {
			for id := range uint32(4) { // the credit was renewed once before it was stopped
				p.transfer(0, id, nil, false)
			}
		}, CondTransferLimitExceeded},
		"no delivery-id":      {func(p *raw) { p.send(0, uint64(codeTransfer), uint32(0)) }, CondInvalidField},
		"delivery-id in use":  {func(p *raw) { p.transfer(0, 7, nil, false); p.transfer(0, 7, nil, false) }, CondInvalidField},
		"deliveries in a mix": {func(p *raw) { p.transfer(0, 7, nil, true); p.transfer(0, 8, nil, true) }, CondInvalidField},
	} {
		t.Run(name, func(t *testing.T) {
			h := &node{
				attach: func(l *Link) error { l.GrantCredit(2); return nil },
				message: func(l *Link, _ *Incoming) {
					if name == "no credit" {
						l.GrantCredit(0)
					}
				},
			}
			p := newRaw(t, Config{}, h)
			p.open()
			p.begin(0)
			p.attachSender(0, 0, "s")
			c.send(p)
			f := p.next()
			for f.code == codeFlow {
				f = p.next()
			}
			if f.code != codeDetach || f.condition(2) != c.want {
				t.Fatalf("got 0x%x %v, want detach with %s", f.code, f.fields, c.want)
			}
			p.transfer(0, 77, nil, false) // was on its way: ignored
			p.send(0, uint64(codeDetach), uint32(0), true)
			p.send(0, uint64(codeFlow), nil, uint32(9), uint32(0), uint32(9), uint32(0)) // go-amqp sends one so late
			p.attachSender(0, 0, "s")                                                    // the handle and the name are free again
		})
	}
}

// TestHostilePeers sends random bytes and random changes of good frames. The
// server may answer what it likes, but it must end when the peer goes.
func TestHostilePeers(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	good := goodStream()
	for range 300 {
		peer, wait := start(t, Config{}, &node{credit: func(l *Link) {
			_, _ = l.Send(make([]byte, 100), nil) // a hostile peer may have taken the credit back
		}})
		go func() {
			buf := make([]byte, 4096)
			for {
				if _, err := peer.Read(buf); err != nil {
					return
				}
			}
		}()
		in := append([]byte{}, good...)
		for range 1 + rng.IntN(8) {
			in[8+rng.IntN(len(in)-8)] = byte(rng.Uint32())
		}
		_ = peer.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = peer.Write(in[:rng.IntN(len(in)+1)]) // the server may close in the middle
		_ = peer.Close()
		_ = wait()
	}
}

// goodStream is what an orderly client writes.
func goodStream() []byte {
	b := headerAMQP()
	add := func(p performative, payload []byte) { b = appendFrame(b, frameTypeAMQP, 0, p, payload) }
	add(&openFrame{containerID: "c", maxFrameSize: 4096, channelMax: 10, idleTimeout: 60000}, nil)
	add(&beginFrame{incomingWindow: 10, outgoingWindow: 10, handleMax: 7}, nil)
	add(&attachFrame{name: "s", source: &Terminus{Address: "x"}, target: &Terminus{Address: "a"}, initialDeliveryCount: some(0)}, nil)
	add(&attachFrame{name: "r", handle: 1, receiver: true, source: &Terminus{Address: "a"}, target: &Terminus{}}, nil)
	add(&flowFrame{nextIncomingID: some(0), incomingWindow: 10, handle: some(1), deliveryCount: some(0), linkCredit: some(5)}, nil)
	for id := range uint32(4) {
		add(&transferFrame{handle: 0, deliveryID: some(id), tag: []byte{1}, more: id == 2}, []byte("payload"))
	}
	add(&dispositionFrame{receiver: true, last: some(3), settled: true, state: State{Kind: Accepted}}, nil)
	add(&detachFrame{handle: 0, closed: true}, nil)
	add(&endFrame{}, nil)
	add(&closeFrame{}, nil)
	return b
}
