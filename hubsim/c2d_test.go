package hubsim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"iotagent/hubsim"
)

func command(id, ack string) *amqp.Message {
	m := amqp.NewMessage([]byte(id))
	to := commandsAddress
	m.Properties = &amqp.MessageProperties{MessageID: id, To: &to}
	if ack != "" {
		m.ApplicationProperties = map[string]any{"iothub-ack": ack}
	}
	return m
}

func (b *bed) enqueue(id, ack string) {
	b.t.Helper()
	if err := b.SendCommand("pi-17", command(id, ack)); err != nil {
		b.t.Fatal(err)
	}
}

// statuses returns the feedback so far as "id status".
func (b *bed) statuses() []string {
	var all []string
	for _, r := range b.Feedback() {
		all = append(all, r.OriginalMessageID+" "+r.StatusCode)
	}
	return all
}

func second() *amqp.ReceiverOptions {
	return &amqp.ReceiverOptions{Credit: 20, SettlementMode: amqp.ReceiverSettleModeSecond.Ptr()}
}

func TestCommandAsTheDeviceSeesIt(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	service := b.connectService()
	expires := time.Now().Add(time.Minute).UTC().Truncate(time.Millisecond)
	subject, correlation := "relay", "c-1"
	m := command("m-1", "full")
	m.Properties.AbsoluteExpiryTime, m.Properties.Subject, m.Properties.CorrelationID = &expires, &subject, correlation
	m.ApplicationProperties["command"] = "relay"
	accepted(t, service.send(service.sender("/messages/devicebound"), m))
	got := c.receive(c.receiver(commandsAddress, nil))
	if string(got.GetData()) != "m-1" || got.Properties.MessageID != "m-1" || *got.Properties.Subject != "relay" || got.Properties.CorrelationID != "c-1" {
		t.Errorf("body or properties lost: %+v", got.Properties)
	}
	if *got.Properties.To != "/devices/pi-17/messages/deviceBound" || !got.Properties.AbsoluteExpiryTime.Equal(expires) {
		t.Errorf("to %q, expiry %v", *got.Properties.To, got.Properties.AbsoluteExpiryTime)
	}
	if len(got.DeliveryTag) != 16 {
		t.Errorf("delivery tag has %d bytes, want the 16 of a lock token", len(got.DeliveryTag))
	}
	if diff := cmp.Diff(map[string]any{"command": "relay", "iothub-ack": "full"}, got.ApplicationProperties); diff != "" {
		t.Error(diff)
	}
	if _, ok := got.Annotations["iothub-enqueuedtime"].(time.Time); !ok {
		t.Errorf("iothub-enqueuedtime is a %T", got.Annotations["iothub-enqueuedtime"])
	}
	if got.Annotations["iothub-deliverycount"] != uint8(0) || got.Annotations["x-opt-sequence-number"] != uint64(1) {
		t.Errorf("annotations %#v", got.Annotations)
	}
}

func TestMixedOutcomesInOneBurst(t *testing.T) {
	for name, o := range map[string]*amqp.ReceiverOptions{"first": {Credit: 20}, "second": second()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, nil)
				for i := range 6 {
					b.enqueue(fmt.Sprint("m", i), "full")
				}
				c := b.connectDevice()
				r := c.receiver(commandsAddress, o)
				var all []*amqp.Message
				for range 6 {
					all = append(all, c.receive(r))
				}
				ctx := stepContext(t)
				err := errors.Join(
					r.AcceptMessage(ctx, all[0]), r.RejectMessage(ctx, all[1], nil), r.ReleaseMessage(ctx, all[2]),
					r.RejectMessage(ctx, all[3], &amqp.Error{Condition: "x:no", Description: "no"}), r.AcceptMessage(ctx, all[4]),
					r.ModifyMessage(ctx, all[5], nil))
				if err != nil {
					t.Fatal(err)
				}
				for _, want := range []string{"m2", "m5"} {
					m := c.receive(r)
					if string(m.GetData()) != want || m.Annotations["iothub-deliverycount"] != uint8(1) {
						t.Errorf("redelivered %s, count %v; want %s, 1", m.GetData(), m.Annotations["iothub-deliverycount"], want)
					}
					if err := r.AcceptMessage(ctx, m); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				want := []string{"m0 Success", "m1 Rejected", "m3 Rejected", "m4 Success", "m2 Success", "m5 Success"}
				if diff := cmp.Diff(want, b.statuses()); diff != "" {
					t.Error(diff)
				}
				if n := b.Queued("pi-17"); n != 0 {
					t.Errorf("%d commands left", n)
				}
			})
		})
	}
}

func TestLockExpiresAndLateSettlementIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		b.enqueue("m", "full")
		c := b.connectDevice()
		r := c.receiver(commandsAddress, second())
		late := c.receive(r)
		time.Sleep(61 * time.Second)
		again := c.receive(r)
		if string(again.GetData()) != "m" || again.Annotations["iothub-deliverycount"] != uint8(0) {
			t.Errorf("redelivered %s, count %v", again.GetData(), again.Annotations["iothub-deliverycount"])
		}
		var refused *amqp.Error
		if err := r.AcceptMessage(stepContext(t), late); !errors.As(err, &refused) || refused.Condition != amqp.ErrCondNotFound {
			t.Errorf("late settlement: %v, want amqp:not-found", err)
		}
		if err := r.AcceptMessage(stepContext(t), again); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"m Success"}, b.statuses()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLockOutlivesTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		b.enqueue("m", "")
		first := b.connectDevice()
		first.receive(first.receiver(commandsAddress, nil))
		b.DropConnections()
		<-first.conn.Done()
		c := b.connectDevice()
		start := time.Now()
		r := c.receiver(commandsAddress, nil)
		m, err := r.Receive(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if wait := time.Since(start); wait < 59*time.Second || wait > 61*time.Second {
			t.Errorf("redelivered after %v, want the rest of the lock", wait)
		}
		if err := r.AcceptMessage(t.Context(), m); err != nil {
			t.Error(err)
		}
	})
}

func TestExpiryAndAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		for i, ack := range []string{"none", "positive", "negative", "full", ""} {
			m := command("expires-"+ack, ack)
			m.Properties.AbsoluteExpiryTime = new(time.Time)
			*m.Properties.AbsoluteExpiryTime = time.Now().Add(time.Duration(20+i) * time.Second)
			if err := b.SendCommand("pi-17", m); err != nil {
				t.Fatal(err)
			}
		}
		b.enqueue("ttl", "full")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"expires-negative Expired", "expires-full Expired"}, b.statuses()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := b.statuses(); got[len(got)-1] != "ttl Expired" {
			t.Errorf("got %v", got)
		}
		c := b.connectDevice()
		for _, ack := range []string{"none", "positive", "negative", "full"} {
			b.enqueue("done-"+ack, ack)
		}
		r := c.receiver(commandsAddress, second())
		for range 4 {
			if err := r.AcceptMessage(stepContext(t), c.receive(r)); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"done-positive Success", "done-full Success"}, b.statuses()[3:]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestMaxDeliveriesAndQueueLimit(t *testing.T) {
	b := newBed(t, &hubsim.Options{MaxDeliveries: 4, QueueLimit: 2})
	b.enqueue("m", "full")
	b.enqueue("n", "")
	service := b.connectService()
	s := service.sender("/messages/deviceBound")
	rejectedWith(t, service.send(s, command("third", "")), amqp.ErrCondResourceLimitExceeded)
	if err := b.SendCommand("pi-17", command("third", "")); !errors.Is(err, hubsim.ErrQueueFull) {
		t.Errorf("got %v, want ErrQueueFull", err)
	}
	c := b.connectDevice()
	r := c.receiver(commandsAddress, nil)
	for range 4 {
		m := c.receive(r)
		if string(m.GetData()) != "m" {
			t.Fatalf("got %s", m.GetData())
		}
		if err := r.ReleaseMessage(stepContext(t), m); err != nil {
			t.Fatal(err)
		}
	}
	if m := c.receive(r); string(m.GetData()) != "n" {
		t.Errorf("after the last release: %s", m.GetData())
	}
	if diff := cmp.Diff([]string{"m DeliveryCountExceeded"}, b.statuses()); diff != "" {
		t.Error(diff)
	}
}

func TestServiceSendRefusals(t *testing.T) {
	b := newBed(t, nil)
	service := b.connectService()
	s := service.sender("/messages/devicebound")
	for condition, change := range map[amqp.ErrCond]func(*amqp.Message){
		"amqp:not-found":                  func(m *amqp.Message) { *m.Properties.To = "/devices/ghost/messages/devicebound" },
		"com.microsoft:argument-error":    func(m *amqp.Message) { m.ApplicationProperties = map[string]any{"iothub-ack": "maybe"} },
		"amqp:link:message-size-exceeded": func(m *amqp.Message) { m.Data = [][]byte{make([]byte, 65_537)} },
	} {
		m := command("m", "")
		change(m)
		rejectedWith(t, service.send(s, m), condition)
	}
	m := command("m", "")
	m.Properties.To = nil
	rejectedWith(t, service.send(s, m), "com.microsoft:argument-error")
	if err := b.SendCommand("ghost", command("m", "")); !errors.Is(err, hubsim.ErrUnknownDevice) {
		t.Errorf("got %v, want ErrUnknownDevice", err)
	}
}

func TestFeedbackIsBatchedSettledAndRedelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		r := c.receiver(commandsAddress, second())
		b.enqueue("a", "full")
		b.enqueue("b", "full")
		ctx := stepContext(t)
		if err := errors.Join(r.AcceptMessage(ctx, c.receive(r)), r.RejectMessage(ctx, c.receive(r), nil)); err != nil {
			t.Fatal(err)
		}
		service := b.connectService()
		f := service.receiver("/messages/serviceBound/feedback", &amqp.ReceiverOptions{Credit: 5})
		start := time.Now()
		m := service.receive(f)
		if wait := time.Since(start); wait < 14*time.Second || wait > 15*time.Second {
			t.Errorf("feedback after %v, want the 15 s since the first record", wait)
		}
		if got := *m.Properties.ContentType; got != "application/vnd.microsoft.iothub.feedback.json" {
			t.Errorf("content type %q", got)
		}
		if string(m.Properties.UserID) != "localhost" || len(m.DeliveryTag) != 16 {
			t.Errorf("user id %q, tag %x", m.Properties.UserID, m.DeliveryTag)
		}
		var records []map[string]string
		if err := json.Unmarshal(m.GetData(), &records); err != nil {
			t.Fatal(err)
		}
		want := []map[string]string{
			{"originalMessageId": "a", "statusCode": "Success", "description": "Success", "deviceId": "pi-17"},
			{"originalMessageId": "b", "statusCode": "Rejected", "description": "Rejected", "deviceId": "pi-17"},
		}
		ignore := cmpopts.IgnoreMapEntries(func(k, v string) bool { return (k == "deviceGenerationId" || k == "enqueuedTimeUtc") && v != "" })
		if diff := cmp.Diff(want, records, ignore); diff != "" {
			t.Error(diff)
		}
		if _, err := time.Parse("2006-01-02T15:04:05.000Z", records[0]["enqueuedTimeUtc"]); err != nil {
			t.Error(err)
		}
		if err := f.ReleaseMessage(stepContext(t), m); err != nil {
			t.Fatal(err)
		}
		again := service.receive(f)
		if diff := cmp.Diff(m.GetData(), again.GetData()); diff != "" {
			t.Error(diff)
		}
		if err := f.AcceptMessage(stepContext(t), again); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if m := f.Prefetched(); m != nil {
			t.Error("accepted feedback came again")
		}
	})
}

func TestSixtyFourRecordsGoAtOnce(t *testing.T) {
	b := newBed(t, &hubsim.Options{FeedbackDelay: time.Hour, QueueLimit: 64})
	for i := range 64 {
		m := command(fmt.Sprint(i), "full")
		past := time.Now().Add(-time.Second)
		m.Properties.AbsoluteExpiryTime = &past
		if err := b.SendCommand("pi-17", m); err != nil {
			t.Fatal(err)
		}
	}
	service := b.connectService()
	m := service.receive(service.receiver("/messages/serviceBound/feedback", nil))
	var records []hubsim.FeedbackRecord
	if err := json.Unmarshal(m.GetData(), &records); err != nil || len(records) != 64 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

func TestPurge(t *testing.T) {
	b := newBed(t, &hubsim.Options{FeedbackBatch: 1})
	b.enqueue("a", "negative")
	b.enqueue("b", "positive")
	if n, err := b.PurgeCommands("pi-17"); n != 2 || err != nil {
		t.Errorf("%d purged, %v", n, err)
	}
	if diff := cmp.Diff([]string{"a Purged"}, b.statuses()); diff != "" || b.Queued("pi-17") != 0 {
		t.Errorf("%d left, %s", b.Queued("pi-17"), diff)
	}
	if _, err := b.PurgeCommands("ghost"); !errors.Is(err, hubsim.ErrUnknownDevice) {
		t.Errorf("got %v", err)
	}
}

func TestSecondReceiveLinkTakesOver(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	first := c.receiver(commandsAddress, nil)
	next := c.receiver(commandsAddress, nil)
	_, err := first.Receive(stepContext(t), nil)
	var link *amqp.LinkError
	if !errors.As(err, &link) || link.RemoteErr == nil || link.RemoteErr.Condition != amqp.ErrCondInternalError {
		t.Errorf("the first link ended with %v", err)
	}
	b.enqueue("m", "")
	if m := c.receive(next); string(m.GetData()) != "m" || m.Properties.AbsoluteExpiryTime != nil {
		t.Errorf("got %s, expiry %v that no service set", m.GetData(), m.Properties.AbsoluteExpiryTime)
	}
}

func TestCommandsSecondForcesTheMode(t *testing.T) {
	b := newBed(t, &hubsim.Options{CommandsSecond: true})
	c := b.connectDevice()
	_, err := c.NewReceiver(stepContext(t), commandsAddress, &amqp.ReceiverOptions{SettlementMode: amqp.ReceiverSettleModeFirst.Ptr()})
	if err == nil {
		t.Error("go-amqp would have refused an attach with another mode than it asked for")
	}
	b.enqueue("m", "full")
	r := c.receiver(commandsAddress, nil)
	if err := r.AcceptMessage(stepContext(t), c.receive(r)); err != nil {
		t.Error(err)
	}
}
