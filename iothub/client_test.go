package iothub_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"iotagent/hubsim"
	"iotagent/iothub"
)

func TestSendAndReceive(t *testing.T) {
	for _, auth := range []iothub.Auth{iothub.AuthSAS, iothub.AuthSASPlain} {
		t.Run(string(auth), func(t *testing.T) {
			run(t, nil, func(t *testing.T, b *bed) {
				o := b.options()
				o.Auth = auth
				c := b.dial(o)
				m := message(1)
				m.Created = wall()
				m.CorrelationID = "why"
				r, err := c.Send(t.Context(), m)
				if err != nil {
					t.Fatal(err)
				}
				if got := r.Wait(t.Context()); got.State != iothub.Accepted || got.Err != nil {
					t.Fatalf("outcome %+v", got)
				}
				e := b.Events()[0]
				if e.MessageID != "m-1" || string(e.Data()) != `{"n":1}` || e.Properties["n"] != "1" || e.ContentType != "application/json" ||
					!strings.HasSuffix(e.Properties["iothub-creation-time-utc"], "Z") {
					t.Errorf("event %+v", e)
				}
				if s := c.Status(); !s.Online() || s.TokenExpires.Before(wall()) || s.Parts[iothub.Telemetry].Proof.IsZero() || s.Parts[iothub.Command].Proof.IsZero() {
					t.Errorf("status %+v", s)
				}
				if c.MaxMessageSize() != 1<<20 {
					t.Errorf("max message size %d", c.MaxMessageSize())
				}
				if err := c.Close(t.Context()); err != nil || c.Err() != nil {
					t.Errorf("close: %v, %v", err, c.Err())
				}
				if _, err := c.Send(t.Context(), message(2)); err == nil {
					t.Error("a closed client sends")
				}
			})
		})
	}
}

func command(id any, body string) *amqp.Message {
	m := amqp.NewMessage([]byte(body))
	m.Properties = &amqp.MessageProperties{MessageID: id}
	return m
}

// Accept, reject and release give exactly those outcomes, also in one burst, in both receiver settle modes.
func TestSettleMixedBurst(t *testing.T) {
	for _, second := range []bool{false, true} {
		run(t, &hubsim.Options{CommandsSecond: second, MaxDeliveries: 1, FeedbackDelay: time.Millisecond}, func(t *testing.T, b *bed) {
			c := b.dial(b.options())
			answers := []iothub.Settlement{iothub.Accept, iothub.Reject, iothub.Release, iothub.Accept, iothub.Reject, iothub.Accept}
			for i := range answers {
				m := command(string(rune('a'+i)), "x")
				m.ApplicationProperties = map[string]any{"iothub-ack": "full"}
				if err := b.SendCommand(device, m); err != nil {
					t.Fatal(err)
				}
			}
			var burst []*iothub.Delivery
			for range answers {
				d, err := c.Receive(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				burst = append(burst, d)
			}
			errs := make(chan error)
			for i, d := range burst {
				go func() { errs <- c.Settle(t.Context(), d, answers[i], "because") }()
			}
			for range answers {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			records, err := b.WaitFeedback(t.Context(), len(answers))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, r := range records {
				got[r.OriginalMessageID] = r.StatusCode
			}
			want := map[string]string{"a": "Success", "b": "Rejected", "c": "DeliveryCountExceeded", "d": "Success", "e": "Rejected", "f": "Success"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("second=%v: %s", second, diff)
			}
			if err := c.Settle(t.Context(), burst[0], iothub.Reject, ""); err != nil {
				t.Errorf("settled twice: %v", err)
			}
		})
	}
}

func TestReleasedCommandComesAgain(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		if err := b.SendCommand(device, command(uint64(7), "x")); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			d, err := c.Receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if d.ID != "u:7" || d.MessageID != "7" || d.DeliveryCount != n || d.Sequence == 0 || d.Enqueued.IsZero() {
				t.Errorf("delivery %+v", d)
			}
			if err := c.Settle(t.Context(), d, iothub.Release, ""); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestOversizeAndOddCommandsAreRejected(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		odd := &amqp.Message{Value: map[string]any{"a": int64(1)}, Properties: &amqp.MessageProperties{MessageID: "odd"}}
		for _, m := range []*amqp.Message{odd, command("good", "yes")} {
			if err := b.SendCommand(device, m); err != nil {
				t.Fatal(err)
			}
		}
		d, err := c.Receive(t.Context())
		if err != nil || d.MessageID != "good" {
			t.Fatalf("%+v, %v", d, err)
		}
		if err := b.WaitFor(t.Context(), func() bool { return b.Queued(device) == 1 }); err != nil {
			t.Error(err)
		}
	})
}

func TestMessageThatCannotBeSent(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		bad := []*iothub.Message{
			{ID: "big", Body: make([]byte, iothub.MaxMessage)},
			{ID: "", Body: []byte("x")},
			{ID: strings.Repeat("x", 129)},
			{ID: "bad\xff"},
			{ID: "p", Properties: []iothub.Property{{"", "x"}}},
			{ID: "p", Properties: []iothub.Property{{"x", "\xff"}}},
		}
		for _, m := range bad {
			r, err := c.Send(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			o := r.Wait(t.Context())
			if o.State != iothub.Rejected {
				t.Errorf("%q: %+v", m.ID, o)
			}
			want(t, o.Err, iothub.ClassMessage)
		}
		if o := send(t, c, 1); o.State != iothub.Accepted || b.Accepted() != 1 {
			t.Errorf("the link is not usable any more: %+v", o)
		}
	})
}

func TestWrongKey(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.RejectNextTokens(2, 401, "The specified SAS token has an invalid signature. It does not match either the primary or secondary key.")
		_, err := iothub.Dial(t.Context(), b.options())
		if e := want(t, err, iothub.ClassAuth); !strings.Contains(e.Hint, "clock or key") || !strings.Contains(e.Hint, wall().UTC().Format("2006-01-02T15")) {
			t.Errorf("hint %q", e.Hint)
		}
	})
}

func TestUnknownDevice(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		o := b.options()
		o.DeviceID = "nobody"
		_, err := iothub.Dial(t.Context(), o)
		if e := want(t, err, iothub.ClassAuth); e.Hint == "" {
			t.Errorf("no hint in %v", e)
		}
	})
}

func TestDisabledDevice(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.RejectNextTokens(1, 401, `{"errorCode":403012,"message":"Device disabled"}`)
		_, err := iothub.Dial(t.Context(), b.options())
		want(t, err, iothub.ClassDisabled)
	})
}

func TestClockAnHourBehind(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		o := b.options()
		o.Now = func() time.Time { return wall().Add(-2 * time.Hour) }
		_, err := iothub.Dial(t.Context(), o)
		if e := want(t, err, iothub.ClassAuth); !strings.Contains(e.Hint, "clock is behind") {
			t.Errorf("hint %q of %v", e.Hint, e)
		}
	})
}

func TestImplausibleClockMintsNoToken(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		for _, auth := range []iothub.Auth{iothub.AuthSAS, iothub.AuthSASPlain, iothub.AuthX509} {
			o := b.options()
			o.Auth, o.Now = auth, time.Now // the year 2000
			_, err := iothub.Dial(t.Context(), o)
			want(t, err, iothub.ClassClock)
		}
		if b.TokenRequests() != 0 {
			t.Error("a token was put")
		}
	})
}

func TestPlainLoginRefused(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		o := b.options()
		o.Auth, o.DeviceID = iothub.AuthSASPlain, "nobody"
		_, err := iothub.Dial(t.Context(), o)
		want(t, err, iothub.ClassAuth)
	})
}

func TestHubIsDown(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.RefuseConnections(true)
		_, err := iothub.Dial(t.Context(), b.options())
		want(t, err, iothub.ClassNetwork)
	})
}

func TestHubSaysNothing(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.BlackHole(true)
		start := time.Now()
		_, err := iothub.Dial(t.Context(), b.options())
		want(t, err, iothub.ClassNetwork)
		if took := time.Since(start); took > 70*time.Second {
			t.Errorf("noticed after %v", took)
		}
	})
}

func TestSilentConnectionEnds(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		time.Sleep(5 * time.Minute) // an idle connection stays
		if c.Err() != nil {
			t.Fatal(c.Err())
		}
		b.BlackHole(true)
		want(t, ended(t, c, 70*time.Second), iothub.ClassNetwork)
	})
}

func TestConnectionLossMakesOutcomesUnknown(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		b.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Outcome: hubsim.Lose} })
		r, err := c.Send(t.Context(), message(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.WaitEvents(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		b.DropConnections()
		if o := r.Wait(t.Context()); o.State != iothub.Unknown || o.Err == nil {
			t.Errorf("outcome %+v", o)
		}
		want(t, ended(t, c, time.Second), iothub.ClassNetwork)
		_, err = c.Receive(t.Context())
		want(t, err, iothub.ClassNetwork)
	})
}

func TestClosedByTheHub(t *testing.T) {
	tests := []struct {
		condition, description string
		class                  iothub.Class
	}{
		{"", "", iothub.ClassNetwork},
		{"amqp:connection:forced", "upgrade", iothub.ClassServer},
		{"com.microsoft:connection-closed-on-new-connection", "Backend initiated disconnection.", iothub.ClassDisplaced},
		{"amqp:unauthorized-access", "Token Invalid.", iothub.ClassAuth},
	}
	for _, tt := range tests {
		run(t, nil, func(t *testing.T, b *bed) {
			c := b.dial(b.options())
			b.CloseConnections(tt.condition, tt.description)
			e := want(t, ended(t, c, time.Second), tt.class)
			if e.Condition != tt.condition || e.Description != tt.description {
				t.Errorf("error %+v", e)
			}
		})
	}
}

func TestMissingSettlementEndsTheLink(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		b.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Outcome: hubsim.Lose} })
		start := time.Now()
		if o := send(t, c, 1); o.State != iothub.Unknown {
			t.Errorf("outcome %+v", o)
		}
		if took := time.Since(start); took < 45*time.Second || took > 47*time.Second {
			t.Errorf("given up after %v", took)
		}
		b.OnTelemetry(nil)
		healed(t, c, b, 2)
	})
}

func TestCloseDrains(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		b.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Delay: 3 * time.Second} })
		var receipts []*iothub.Receipt
		for n := range 10 {
			r, err := c.Send(t.Context(), message(n))
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, r)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		for n, r := range receipts {
			if o := r.Wait(t.Context()); o.State != iothub.Accepted {
				t.Errorf("%d: %+v", n, o)
			}
		}
	})
}

func TestCloseGivesUpDraining(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		b.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Outcome: hubsim.Lose} })
		if _, err := c.Send(t.Context(), message(1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
	})
}

func TestSecretsDoNotPrint(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		o := b.options()
		o.Token = b.key.Token("localhost/devices/"+device, wall().Add(time.Hour), "")
		c := b.dial(o)
		for _, text := range []string{sprint(c), sprint(o), sprint(*o)} {
			if strings.Contains(text, "sig=") || strings.Contains(text, b.key.Text()) {
				t.Errorf("a secret shows: %s", text)
			}
		}
	})
}
