package hubsim_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"iotagent/hubsim"
)

const (
	eventsAddress   = "/devices/pi-17/messages/events"
	commandsAddress = "/devices/pi-17/messages/devicebound"
)

func accepted(t *testing.T, state amqp.DeliveryState) {
	t.Helper()
	if _, ok := state.(*amqp.StateAccepted); !ok {
		t.Fatalf("outcome %#v, want accepted", state)
	}
}

// rejectedWith fails the test unless the state is rejected with the condition.
func rejectedWith(t *testing.T, state amqp.DeliveryState, condition amqp.ErrCond) {
	t.Helper()
	r, ok := state.(*amqp.StateRejected)
	if !ok || r.Error == nil || r.Error.Condition != condition {
		t.Fatalf("outcome %#v, want rejected with %s", state, condition)
	}
}

func TestTelemetryIsStoredThenAccepted(t *testing.T) {
	b := newBed(t, &hubsim.Options{Now: func() time.Time { return time.Date(2026, 2, 3, 4, 5, 6, 7_000_000, time.UTC) }})
	c := b.connect(nil)
	c.authorize(b.device.Key.Token("localhost/devices/pi-17", time.Date(2026, 2, 3, 5, 0, 0, 0, time.UTC), ""))
	s := c.sender(eventsAddress)
	contentType := "application/json"
	accepted(t, c.send(s, &amqp.Message{
		Properties:            &amqp.MessageProperties{MessageID: "m-1", ContentType: &contentType},
		ApplicationProperties: map[string]any{"lane": "normal", "n": int32(7)},
		Data:                  [][]byte{[]byte(`{"t":"<21>"}`)},
	}))
	accepted(t, c.send(s, &amqp.Message{
		Properties: &amqp.MessageProperties{MessageID: amqp.UUID{15: 1}},
		Data:       [][]byte{{0xff, 0xfe}},
	}))
	events := b.Events()
	if len(events) != 2 {
		t.Fatalf("%d events, want 2", len(events))
	}
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetEscapeHTML(false)
	for _, e := range events {
		e.Annotations["iothub-connection-auth-generation-id"] = "G"
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	const annotations = `"iothub-connection-auth-generation-id":"G",` +
		`"iothub-connection-auth-method":"{\"scope\":\"device\",\"type\":\"sas\",\"issuer\":\"iothub\",\"acceptingIpFilterRule\":null}",` +
		`"iothub-connection-device-id":"pi-17","iothub-enqueuedtime":"2026-02-03T04:05:06.007Z","iothub-message-source":"Telemetry",` +
		`"x-opt-enqueued-time":"2026-02-03T04:05:06.007Z",`
	p := events[0].Partition
	want := fmt.Sprintf(`{"device":"pi-17","partition":%d,"sequence":0,"offset":"0","enqueued":"2026-02-03T04:05:06.007Z","message_id":"m-1",`+
		`"content_type":"application/json","properties":{"lane":"normal","n":"7"},"annotations":{`+annotations+
		`"x-opt-offset":"0","x-opt-partition-key":"pi-17","x-opt-sequence-number":0},"body":"{\"t\":\"<21>\"}"}`+"\n"+
		`{"device":"pi-17","partition":%d,"sequence":1,"offset":"43","enqueued":"2026-02-03T04:05:06.007Z","message_id":"00000000-0000-0000-0000-000000000001",`+
		`"content_type":"","properties":{},"annotations":{`+annotations+
		`"x-opt-offset":"43","x-opt-partition-key":"pi-17","x-opt-sequence-number":1},"body_base64":"//4="}`+"\n", p, p)
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTelemetryBatchIsOneDelivery(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	s := c.sender(eventsAddress)
	batch := &amqp.Message{Format: 0x80013700}
	for i := range 3 {
		data, err := (&amqp.Message{Properties: &amqp.MessageProperties{MessageID: fmt.Sprint("m", i)}, Data: [][]byte{{byte('a' + i)}}}).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		batch.Data = append(batch.Data, data)
	}
	// The order that the C SDK writes: properties, application properties, annotations, data.
	batch.Data = append(batch.Data, []byte("\x00\x53\x73\xd0\x00\x00\x00\x08\x00\x00\x00\x01\xa1\x02m3"+
		"\x00\x53\x74\xd1\x00\x00\x00\x0a\x00\x00\x00\x02\xa1\x01k\xa1\x01v"+
		"\x00\x53\x72\xd1\x00\x00\x00\x0a\x00\x00\x00\x02\xa3\x01a\xa1\x01b"+"\x00\x53\x75\xa0\x01d"))
	accepted(t, c.send(s, batch))
	var got []string
	for _, e := range b.Events() {
		got = append(got, e.MessageID+" "+*e.Body)
	}
	if diff := cmp.Diff([]string{"m0 a", "m1 b", "m2 c", "m3 d"}, got); diff != "" {
		t.Error(diff)
	}
	if last := b.Events()[3]; last.Properties["k"] != "v" || last.Annotations["a"] != "b" {
		t.Errorf("sections out of order lost: %v %v", last.Properties, last.Annotations)
	}
	rejectedWith(t, c.send(s, &amqp.Message{Format: 0x80013700, Data: [][]byte{batch.Data[0], {1, 2, 3}}}), "amqp:decode-error")
	if n := b.Accepted(); n != 4 {
		t.Errorf("%d messages after a broken batch, want 4: all or none", n)
	}
}

func TestTelemetrySizes(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	s := c.sender(eventsAddress)
	if n := s.MaxMessageSize(); n != 1<<20 { // above it the link is detached, which amqpd's tests show
		t.Errorf("max-message-size %d, want 1 MiB", n)
	}
	accepted(t, c.send(s, amqp.NewMessage(make([]byte, 262_144)))) // several frames
	rejectedWith(t, c.send(s, amqp.NewMessage(make([]byte, 262_145))), "amqp:link:message-size-exceeded")
	if n := b.Accepted(); n != 1 {
		t.Errorf("%d stored, want 1", n)
	}
}

func TestTelemetryPipelinedKeepsOrder(t *testing.T) {
	b := newBed(t, &hubsim.Options{Retention: 20_000})
	c := b.connectDevice()
	s := c.sender(eventsAddress)
	const n = 12_000 // beyond every window
	receipts := make(chan amqp.SendReceipt, 500)
	done := make(chan error, 1)
	go func() {
		defer close(done)
		for r := range receipts {
			if state, err := r.Wait(t.Context()); err != nil {
				done <- err
				return
			} else if _, ok := state.(*amqp.StateAccepted); !ok {
				done <- fmt.Errorf("outcome %#v", state)
				return
			}
		}
	}()
	for i := range n {
		r, err := s.SendWithReceipt(t.Context(), amqp.NewMessage(fmt.Append(nil, i)), nil)
		if err != nil {
			t.Fatal(err)
		}
		receipts <- r
	}
	close(receipts)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, e := range b.Events() {
		if *e.Body != fmt.Sprint(i) || e.Sequence != int64(i) {
			t.Fatalf("event %d holds %s with sequence %d", i, *e.Body, e.Sequence)
		}
	}
	if b.Accepted() != n {
		t.Errorf("%d accepted, want %d", b.Accepted(), n)
	}
}

func TestSecondConnectionOfADeviceClosesTheFirst(t *testing.T) {
	b := newBed(t, nil)
	first := b.connectDevice()
	first.sender(eventsAddress)
	second := b.connectDevice()
	s := second.sender(eventsAddress)
	<-first.conn.Done()
	var remote *amqp.Error
	if !errors.As(first.conn.Err(), &remote) || remote.Condition != "com.microsoft:connection-closed-on-new-connection" {
		t.Errorf("the first connection ended with %v", first.conn.Err())
	}
	accepted(t, second.send(s, amqp.NewMessage([]byte("x"))))
}

func TestAttachIsRefused(t *testing.T) {
	b := newBed(t, nil)
	if _, err := b.AddDevice("pi-18"); err != nil {
		t.Fatal(err)
	}
	bare, device, gateway, service := b.connect(nil), b.connectDevice(), b.connect(nil), b.connectService()
	gateway.authorize(b.policyToken("device", time.Hour))
	for name, tc := range map[string]struct {
		client    *client
		address   string
		receive   bool
		condition amqp.ErrCond
	}{
		"no token":              {bare, eventsAddress, false, amqp.ErrCondUnauthorizedAccess},
		"no token, commands":    {bare, commandsAddress, true, amqp.ErrCondUnauthorizedAccess},
		"another device":        {device, "/devices/pi-18/messages/events", false, amqp.ErrCondUnauthorizedAccess},
		"service's node":        {device, "/messages/devicebound", false, amqp.ErrCondUnauthorizedAccess},
		"feedback as a device":  {device, "/messages/serviceBound/feedback", false, amqp.ErrCondNotAllowed},
		"unknown":               {device, "/devices/pi-17/other", false, amqp.ErrCondNotFound},
		"wrong direction":       {device, eventsAddress, true, amqp.ErrCondNotAllowed},
		"not built yet":         {service, "/messages/serviceBound/filenotifications", true, amqp.ErrCondNotImplemented},
		"module, unknown":       {gateway, "/devices/pi-17/modules/m/messages/events", false, amqp.ErrCondNotFound},
		"device, unknown":       {gateway, "/devices/pi-19/messages/events", false, amqp.ErrCondNotFound},
		"telemetry of a device": {device, "/messages/events/ConsumerGroups/$Default/Partitions/0", true, amqp.ErrCondUnauthorizedAccess},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if tc.receive {
				_, err = tc.client.NewReceiver(stepContext(t), tc.address, nil)
			} else {
				_, err = tc.client.NewSender(stepContext(t), tc.address, nil)
			}
			var remote *amqp.Error
			if !errors.As(err, &remote) || remote.Condition != tc.condition {
				t.Fatalf("got %v, want %s", err, tc.condition)
			}
			var body struct{ ErrorCode int }
			if err := json.Unmarshal([]byte(remote.Description), &body); err != nil || body.ErrorCode < 400_000 {
				t.Errorf("description %q holds no code", remote.Description)
			}
		})
	}
}
