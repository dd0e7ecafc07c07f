package service_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"iotagent/hubsim"
	"iotagent/iothub/sas"
	"iotagent/iothub/service"
)

// oddMessages are such as other people's devices send.
func oddMessages() []*amqp.Message {
	text := func(s string) *string { return &s }
	return []*amqp.Message{
		{
			Properties:            &amqp.MessageProperties{MessageID: "m-1", ContentType: text("application/json")},
			ApplicationProperties: map[string]any{"room": "<ü & \u2028>", "n": int32(-7), "on": true, "f": 1.5},
			Data:                  [][]byte{[]byte(`[{"sensor":"boiler","t":21.5}]`)},
		},
		{Properties: &amqp.MessageProperties{MessageID: uint64(math.MaxUint64)}, Data: [][]byte{{0xff, 0xfe, 0}}},
		{Properties: &amqp.MessageProperties{MessageID: amqp.UUID{1, 2, 3}}, Data: [][]byte{{}}},
		{Properties: &amqp.MessageProperties{MessageID: []byte{1, 2}}, Data: [][]byte{[]byte("two "), []byte("sections")}},
		{Value: "a text as value"},
		{
			Annotations: amqp.Annotations{
				"mine": amqp.Symbol("sym"), "when": time.UnixMilli(1_790_000_000_123), "list": []any{int32(1), "x"}, "nan": math.NaN(),
				"inf": float32(math.Inf(1)), "single": float32(0.1), "bytes": []byte("ab"), "big": uint64(math.MaxUint64), "no": nil, "small": int8(-1),
			},
			ApplicationProperties: map[string]any{"when": time.UnixMilli(1_790_000_000_000), "id": amqp.UUID{9}, "none": nil, "bytes": []byte{0xab}},
			Data:                  [][]byte{[]byte("x")},
		},
	}
}

func TestEventsPrintAsHubsimDoes(t *testing.T) {
	var want []string
	o := &hubsim.Options{Events: func(e *hubsim.Event) { want = append(want, line(t, e)) }}
	run(t, o, func(t *testing.T, b *bed) {
		cs, err := b.AddDevice("pi-17")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := b.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		token := cs.Key.Token(sas.Resource("localhost", "pi-17", ""), wall().Add(time.Hour), "")
		conn, err := amqp.NewConn(t.Context(), raw, &amqp.ConnOptions{HostName: "localhost", SASLType: amqp.SASLTypePlain("pi-17@sas.localhost", token)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		session, err := conn.NewSession(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		sender, err := session.NewSender(t.Context(), "/devices/pi-17/messages/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		messages := oddMessages()
		for i, m := range messages {
			if err := sender.Send(t.Context(), m, nil); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		var got []string
		if err := b.service().Events(hour(t), nil, func(e *service.Event) bool {
			got = append(got, line(t, e))
			return len(got) < len(messages)
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-hubsim +service:\n%s", diff)
		}
		if !strings.HasPrefix(got[0], `{"device":"pi-17","partition":`) || strings.Contains(got[0], `"partition":"`) || !strings.Contains(got[0], `"room":"<ü & `) {
			t.Errorf("got %s", got[0])
		}
	})
}

// line encodes as both programs do.
func line(t *testing.T, v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Error(err)
	}
	return b.String()
}

func TestEventsWithoutAnnotationsPrintToo(t *testing.T) {
	got := line(t, &service.Event{Partition: "a/b", Sequence: -1, Properties: map[string]string{}, Annotations: map[string]any{}})
	const want = `{"device":"","partition":"a/b","sequence":-1,"offset":"","enqueued":"0001-01-01T00:00:00.000Z","message_id":"","content_type":"",` +
		`"properties":{},"annotations":{},"body":""}` + "\n"
	if got != want {
		t.Errorf("got %s", got)
	}
}
