package amqpd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
)

func TestSendOutcomes(t *testing.T) {
	t.Parallel()
	h := &node{message: func(_ *Link, d *Incoming) {
		switch text := body(t, d.Payload); text {
		case "accept":
			d.Settle(State{Kind: Accepted})
			d.Settle(State{Kind: Released}) // does nothing
		case "release":
			d.Settle(State{Kind: Released})
		case "modify":
			d.Settle(State{Kind: Modified, DeliveryFailed: true})
		default:
			d.Settle(State{Kind: Rejected, Error: &Error{
				Condition: CondResourceLimitExceeded, Description: text,
				Info: Fields{{Key: "n", Value: int32(7)}},
			}})
		}
	}}
	_, s, _ := dial(t, Config{}, h, nil)
	snd, err := s.NewSender(within(t), "somewhere", nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]amqp.DeliveryState{
		"accept":  &amqp.StateAccepted{},
		"release": &amqp.StateReleased{},
		"modify":  &amqp.StateModified{DeliveryFailed: true},
		"reject me": &amqp.StateRejected{Error: &amqp.Error{
			Condition: amqp.ErrCondResourceLimitExceeded, Description: "reject me", Info: map[string]any{"n": int32(7)},
		}},
	} {
		r, err := snd.SendWithReceipt(within(t), amqp.NewMessage([]byte(text)), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Wait(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s: got - want +\n%s", text, diff)
		}
	}
}

func TestMultiFrame(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789", 30000)
	got := make(chan string, 1)
	h := &node{
		message: func(_ *Link, d *Incoming) {
			got <- body(t, d.Payload)
			d.Settle(State{Kind: Accepted})
		},
		credit: func(l *Link) {
			if _, err := l.Send(encoded(t, big), nil); err != nil {
				t.Errorf("send: %v", err)
			}
		},
	}
	for _, size := range []uint32{0, 600, 65536} { // 512 itself is ignored by go-amqp
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			_, s, _ := dial(t, Config{MaxFrameSize: size}, h, &amqp.ConnOptions{MaxFrameSize: size})
			snd, err := s.NewSender(within(t), "a", nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := snd.Send(within(t), amqp.NewMessage([]byte(big)), nil); err != nil {
				t.Fatal(err)
			}
			if x := <-got; x != big {
				t.Errorf("server got %d bytes, want %d", len(x), len(big))
			}
			rcv, err := s.NewReceiver(within(t), "b", nil)
			if err != nil {
				t.Fatal(err)
			}
			m, err := rcv.Receive(within(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			if string(m.GetData()) != big {
				t.Errorf("client got %d bytes, want %d", len(m.GetData()), len(big))
			}
		})
	}
}

func TestTooLargeMessage(t *testing.T) {
	t.Parallel()
	gone := make(chan error, 1)
	h := &node{
		detached: func(_ *Link, err error) { gone <- err },
		message:  func(*Link, *Incoming) { t.Error("message was delivered") },
	}
	peer := newRaw(t, Config{MaxMessageSize: 1000}, h)
	peer.open()
	peer.begin(0)
	peer.attachSender(0, 0, "s")
	peer.transfer(0, 0, make([]byte, 600), true)
	peer.transfer(0, 0, make([]byte, 600), false)
	want := &Error{Condition: CondMessageSizeExceeded, Description: "message is larger than 1000 bytes"}
	if diff := cmp.Diff(<-gone, error(want)); diff != "" {
		t.Errorf("detached: got - want +\n%s", diff)
	}
	peer.expect(codeDetach)
}

func TestManyTransfers(t *testing.T) {
	t.Parallel()
	const links, each = 5, 2200
	var mu sync.Mutex
	seen := make(map[string][]string)
	h := &node{
		attach: func(l *Link) error { l.GrantCredit(37); return nil },
		message: func(l *Link, d *Incoming) {
			mu.Lock()
			seen[l.Name] = append(seen[l.Name], body(t, d.Payload))
			mu.Unlock()
			d.Settle(State{Kind: Accepted})
		},
	}
	_, s, _ := dial(t, Config{IncomingWindow: 100}, h, nil)
	var wg sync.WaitGroup
	for i := range links {
		name := fmt.Sprint("link", i)
		snd, err := s.NewSender(within(t), "a", &amqp.SenderOptions{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { sendPipelined(t, snd, each) })
	}
	wg.Wait()
	var want []string
	for i := range each {
		want = append(want, fmt.Sprint(i))
	}
	for i := range links {
		if diff := cmp.Diff(seen[fmt.Sprint("link", i)], want); diff != "" {
			t.Errorf("link %d: got - want +\n%s", i, diff)
		}
	}
}

// sendPipelined sends n messages before it looks at their outcomes.
func sendPipelined(t *testing.T, snd *amqp.Sender, n int) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	receipts := make([]amqp.SendReceipt, 0, n)
	for i := range n {
		r, err := snd.SendWithReceipt(ctx, amqp.NewMessage([]byte(fmt.Sprint(i))), nil)
		if err != nil {
			t.Errorf("send %d: %v", i, err)
			return
		}
		receipts = append(receipts, r)
	}
	for i, r := range receipts {
		st, err := r.Wait(ctx)
		if _, ok := st.(*amqp.StateAccepted); !ok || err != nil {
			t.Errorf("outcome %d: %v, %v", i, st, err)
			return
		}
	}
}

// outbox is a handler's queue of messages for one link.
type outbox struct {
	mu    sync.Mutex
	t     *testing.T
	texts []string
}

func (b *outbox) fill(l *Link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.texts) > 0 && l.Credit() > 0 {
		if _, err := l.Send(encoded(b.t, b.texts[0]), &SendOptions{Value: b.texts[0]}); err != nil {
			b.t.Errorf("send: %v", err)
			return
		}
		b.texts = b.texts[1:]
	}
}

func TestReceiveMany(t *testing.T) {
	t.Parallel()
	const n = 10500 // beyond go-amqp's session window of 5000
	box := &outbox{t: t}
	for i := range n {
		box.texts = append(box.texts, fmt.Sprint(i))
	}
	done := make(chan struct{})
	accepted := 0
	h := &node{
		credit: box.fill,
		disposition: func(_ *Link, o *Outgoing, s State, settled bool) {
			if s.Kind != Accepted || !settled || o.Value != fmt.Sprint(accepted) {
				t.Errorf("disposition %d: %+v settled %v of %v", accepted, s, settled, o.Value)
			}
			if accepted++; accepted == n {
				close(done)
			}
		},
	}
	_, s, _ := dial(t, Config{}, h, nil)
	rcv, err := s.NewReceiver(within(t), "b", &amqp.ReceiverOptions{Credit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m, err := rcv.Receive(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(m.GetData()); got != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, got)
		}
		if err := rcv.AcceptMessage(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	<-done
}

func TestReceiverOutcomes(t *testing.T) {
	t.Parallel()
	type said struct {
		Text    string
		State   State
		Settled bool
	}
	for _, mode := range []amqp.ReceiverSettleMode{amqp.ReceiverSettleModeFirst, amqp.ReceiverSettleModeSecond} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			box := &outbox{t: t, texts: []string{"accept", "reject", "release", "modify"}}
			got := make(chan said, 10)
			h := &node{credit: box.fill, disposition: func(_ *Link, o *Outgoing, s State, settled bool) {
				text, _ := o.Value.(string)
				got <- said{text, s, settled}
				if !settled {
					o.Settle(State{})
				}
			}}
			_, s, _ := dial(t, Config{}, h, nil)
			rcv, err := s.NewReceiver(within(t), "b", &amqp.ReceiverOptions{Credit: 10, SettlementMode: &mode})
			if err != nil {
				t.Fatal(err)
			}
			second := mode == amqp.ReceiverSettleModeSecond
			for range 4 {
				m, err := rcv.Receive(within(t), nil)
				if err != nil {
					t.Fatal(err)
				}
				want := said{Text: string(m.GetData()), Settled: !second}
				switch want.Text {
				case "accept":
					want.State.Kind = Accepted
					err = rcv.AcceptMessage(within(t), m)
				case "reject":
					want.State = State{Kind: Rejected, Error: &Error{Condition: "a:b", Description: "why"}}
					err = rcv.RejectMessage(within(t), m, &amqp.Error{Condition: "a:b", Description: "why"})
				case "release":
					want.State.Kind = Released
					err = rcv.ReleaseMessage(within(t), m)
				case "modify":
					want.State = State{Kind: Modified, UndeliverableHere: true}
					err = rcv.ModifyMessage(within(t), m, &amqp.ModifyMessageOptions{UndeliverableHere: true})
				}
				// In mode second go-amqp returns an error for an outcome "rejected".
				if err != nil && !(second && want.Text == "reject") {
					t.Errorf("%s: %v", want.Text, err)
				}
				if diff := cmp.Diff(<-got, want); diff != "" {
					t.Errorf("got - want +\n%s", diff)
				}
			}
		})
	}
}

func TestLateSettlement(t *testing.T) {
	t.Parallel()
	box := &outbox{t: t, texts: []string{"x"}}
	h := &node{credit: box.fill, disposition: func(_ *Link, o *Outgoing, _ State, _ bool) {
		o.Settle(State{Kind: Rejected, Error: &Error{Condition: CondNotFound}})
	}}
	_, s, _ := dial(t, Config{}, h, nil)
	rcv, err := s.NewReceiver(within(t), "b", &amqp.ReceiverOptions{SettlementMode: amqp.ReceiverSettleModeSecond.Ptr()})
	if err != nil {
		t.Fatal(err)
	}
	m, err := rcv.Receive(within(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	var remote *amqp.Error
	if err := rcv.AcceptMessage(within(t), m); !errors.As(err, &remote) || remote.Condition != amqp.ErrCondNotFound {
		t.Errorf("accept: %v, want amqp:not-found", err)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	box := &outbox{t: t, texts: []string{"1", "2"}}
	credited := make(chan struct{}, 10)
	_, s, _ := dial(t, Config{}, &node{credit: func(l *Link) { box.fill(l); credited <- struct{}{} }}, nil)
	rcv, err := s.NewReceiver(within(t), "b", &amqp.ReceiverOptions{Credit: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, texts := range [][]string{{"1", "2"}, {"3"}, nil} {
		box.mu.Lock()
		box.texts = texts
		box.mu.Unlock()
		if err := rcv.IssueCredit(5); err != nil {
			t.Fatal(err)
		}
		<-credited // go-amqp forgets credit that is issued just before a drain
		if err := rcv.DrainCredit(within(t), nil); err != nil {
			t.Fatalf("drain: %v", err)
		}
		for _, want := range texts {
			if m := rcv.Prefetched(); m == nil || string(m.GetData()) != want {
				t.Errorf("prefetched %v, want %q", m, want)
			}
		}
		if m := rcv.Prefetched(); m != nil {
			t.Errorf("prefetched %q, want nothing", m.GetData())
		}
	}
}
