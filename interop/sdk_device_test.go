//go:build interop

package interop

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"iotagent/hubsim"
)

// transports runs a test over TCP and over WebSocket.
func transports(t *testing.T, test func(t *testing.T, transport string)) {
	t.Helper()
	t.Parallel()
	for _, transport := range []string{"amqp", "amqp-ws"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			test(t, transport)
		})
	}
}

// received reads one telemetry message as it lies in the hub, with go-amqp.
func (s *sim) received(nth int) *amqp.Message {
	s.t.Helper()
	if _, err := s.WaitEvents(s.t.Context(), nth); err != nil {
		s.t.Fatal(err)
	}
	cs, err := s.ServiceConnection("service")
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := s.Dial(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := amqp.NewConn(s.t.Context(), raw, &amqp.ConnOptions{
		HostName: "localhost", SASLType: amqp.SASLTypePlain("service@sas.root.localhost", cs.Key.Token("localhost", time.Now().Add(time.Hour), "service")),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the hub ends it anyway
	session, err := conn.NewSession(s.t.Context(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	receiver, err := session.NewReceiver(s.t.Context(), "messages/events/ConsumerGroups/$Default/Partitions/0", &amqp.ReceiverOptions{Credit: 10})
	if err != nil {
		s.t.Fatal(err)
	}
	var m *amqp.Message
	for range nth {
		if m, err = receiver.Receive(s.t.Context(), nil); err != nil {
			s.t.Fatal(err)
		}
	}
	return m
}

func TestDeviceTelemetry(t *testing.T) {
	transports(t, func(t *testing.T, transport string) {
		s := newSim(t, hubsim.Options{DirectEvents: true, Partitions: 1})
		d := s.device(transport, nil)
		d.tell("open", nil, "open")
		const id, correlation = "0f8fad5b-d9cb-469f-a165-70867728950e", "order-7"
		d.tell("send", object{"message": object{
			"messageId": id, "correlationId": correlation, "contentType": "application/json", "contentEncoding": "utf-8", "expiryTimeUtc": 1_900_000_000_000,
			"body": `{"temperature":21.5}`, "security": true, "properties": object{"lane": "normal", "größe": "äöü €", "empty": "", "dt-subject": "thermostat1"},
		}}, "sent")
		m := s.received(1)
		p := m.Properties
		uuid, _ := p.MessageID.(amqp.UUID) // the SDK makes one of an id that looks so
		if uuid.String() != id || p.CorrelationID != correlation || *p.ContentType != "application/json" || *p.ContentEncoding != "utf-8" {
			t.Errorf("properties %+v", p)
		}
		if p.AbsoluteExpiryTime == nil || p.AbsoluteExpiryTime.UnixMilli() != 1_900_000_000_000 || *p.To != "/devices/pi-17/messages/events" {
			t.Errorf("properties %+v", p)
		}
		if diff := cmp.Diff(map[string]any{"lane": "normal", "größe": "äöü €", "empty": ""}, m.ApplicationProperties); diff != "" {
			t.Errorf("application properties (-sent +got):\n%s", diff)
		}
		for name, want := range map[string]any{
			"iothub-interface-id": "urn:azureiot:Security:SecurityAgent:1", "dt-subject": "thermostat1", "iothub-connection-device-id": device, "iothub-message-source": "Telemetry",
		} {
			if got := m.Annotations[name]; got != want {
				t.Errorf("annotation %s is %v, want %v", name, got, want)
			}
		}
		if string(m.GetData()) != `{"temperature":21.5}` {
			t.Errorf("body %q", m.GetData())
		}

		large := bytes.Repeat([]byte{0, 0xff, 'x', '\n'}, 50_000) // in several frames
		d.tell("send", object{"message": object{"messageId": "large", "base64": base64.StdEncoding.EncodeToString(large)}}, "sent")
		if got := s.received(2); !bytes.Equal(got.GetData(), large) || got.Properties.MessageID != "large" {
			t.Errorf("large body: %d bytes as %v", len(got.GetData()), got.Properties.MessageID)
		}
		d.do("send", object{"message": object{"messageId": "too-large", "body": strings.Repeat("x", 262_145)}})
		if text := d.fails(); !strings.Contains(text, "MessageTooLargeError") {
			t.Errorf("too large: %s", text)
		}
		d.tell("send", object{"message": object{"messageId": "after", "body": ""}}, "sent")
		if n := s.Accepted(); n != 3 {
			t.Errorf("%d messages accepted, want 3", n)
		}
		d.tell("close", nil, "closed")
	})
}

func TestDeviceReconnects(t *testing.T) {
	transports(t, func(t *testing.T, transport string) {
		s := newSim(t, hubsim.Options{})
		d := s.device(transport, nil)
		both := func() bool { return len(s.Links(device)) == 2 }
		d.tell("open", nil, "open")
		d.tell("receive", nil, "receive")
		d.tell("send", object{"message": object{"messageId": "m1", "body": "1"}}, "sent")
		s.until("both links", both)
		for i, fault := range []func() int{
			s.DropConnections,
			func() int { return s.DetachLinks("", "amqp:link:detach-forced", "Server Busy. Please retry operation") },
		} {
			if fault() == 0 {
				t.Fatal("there was nothing to disturb")
			}
			id := []string{"m2", "m3"}[i]
			d.tell("send", object{"message": object{"messageId": id, "body": id}}, "sent")
			s.until("both links again", both)
			if err := s.SendCommand(device, &amqp.Message{Properties: &amqp.MessageProperties{MessageID: "c-" + id}, Data: [][]byte{[]byte("x")}}); err != nil {
				t.Fatal(err)
			}
			if got := d.await("command"); got.ID != "c-"+id {
				t.Errorf("command %+v", got)
			}
			d.tell("settle", object{"answers": [][]string{{"c-" + id, "complete"}}}, "settled")
			s.until("the command is settled", func() bool { return s.Queued(device) == 0 })
		}
		var ids []string
		for _, e := range s.Events() {
			ids = append(ids, e.MessageID)
		}
		if diff := cmp.Diff([]string{"m1", "m2", "m3"}, ids); diff != "" {
			t.Errorf("(-sent +stored):\n%s", diff)
		}
		d.tell("close", nil, "closed")
		s.until("no link is left", func() bool { return len(s.Links(device)) == 0 })
	})
}

// Tokens of four seconds, renewed each second: the connection outlives its first token, and nothing is disturbed.
func TestDeviceRenewsItsToken(t *testing.T) {
	transports(t, func(t *testing.T, transport string) {
		s := newSim(t, hubsim.Options{TokenGrace: -1})
		d := s.device(transport, object{"tokenSeconds": 4, "renewBefore": 3})
		d.tell("open", nil, "open")
		d.tell("receive", nil, "receive")
		for n := 2; n <= 6; n++ {
			s.until("a renewal", func() bool { return s.TokenRequests() >= n })
			d.tell("send", object{"message": object{"messageId": "m", "body": "x"}}, "sent")
		}
		if n := s.dials.Load(); n != 1 {
			t.Errorf("%d connections, want the first one all along", n)
		}
		if len(s.Links(device)) != 2 {
			t.Errorf("links %v", s.Links(device))
		}
		d.tell("close", nil, "closed")
	})
}

// The SDK takes each refusal for what it is.
func TestDeviceRefused(t *testing.T) {
	t.Parallel()
	s := newSim(t, hubsim.Options{})
	for name, refuse := range map[string]func() error{
		"unknown":  func() error { return s.RemoveDevice("pi-unknown") },
		"disabled": func() error { return s.DisableDevice("pi-disabled") },
	} {
		cs, err := s.AddDevice("pi-" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := refuse(); err != nil {
			t.Fatal(err)
		}
		d := s.device("amqp", object{"connection": cs.Text()})
		d.do("open", nil)
		if text := d.fails(); !strings.Contains(text, "UnauthorizedError") {
			t.Errorf("%s: %s", name, text)
		}
	}
}
