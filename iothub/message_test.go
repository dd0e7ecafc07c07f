package iothub

import (
	"strings"
	"testing"
	"time"

	amqp "github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSize(t *testing.T) {
	tests := []struct {
		m    Message
		want int
	}{
		{Message{}, 0},
		{Message{ID: "1234", Body: make([]byte, 100)}, 104},
		{Message{ID: "1", CorrelationID: "22", ContentType: "333", ContentEncoding: "4444"}, 10},
		{Message{Properties: []Property{{"ab", "cde"}, {"f", ""}}}, 6},
		{Message{Created: time.Unix(1, 0)}, len("iothub-creation-time-utc") + len("1970-01-01T00:00:01.000Z")},
	}
	for _, tt := range tests {
		if got := tt.m.Size(); got != tt.want {
			t.Errorf("%+v: %d, want %d", tt.m, got, tt.want)
		}
	}
}

func TestEncode(t *testing.T) {
	kind, coding := "application/json", "utf-8"
	m := Message{
		ID: "a", CorrelationID: "b", ContentType: kind, ContentEncoding: coding, Properties: []Property{{"k", "v"}}, Body: []byte("{}"),
		Created: time.Date(2026, 5, 4, 3, 2, 1, 6_000_000, time.FixedZone("", 3600)),
	}
	want := &amqp.Message{
		Properties:            &amqp.MessageProperties{MessageID: "a", CorrelationID: "b", ContentType: &kind, ContentEncoding: &coding},
		ApplicationProperties: map[string]any{"k": "v", "iothub-creation-time-utc": "2026-05-04T02:02:01.006Z"},
		Data:                  [][]byte{[]byte("{}")},
	}
	if diff := cmp.Diff(want, m.encode(), cmpopts.IgnoreUnexported(amqp.Message{})); diff != "" {
		t.Error(diff)
	}
	if got := (&Message{ID: "a"}).encode(); len(got.Data) != 1 || got.ApplicationProperties != nil {
		t.Errorf("empty message %+v", got)
	}
}

func TestDelivery(t *testing.T) {
	when := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	local := when.In(time.FixedZone("", 3600))
	subject := "relay"
	uuid := amqp.UUID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	none := map[string]string{}
	tests := []struct {
		name string
		in   amqp.Message
		want Delivery
	}{
		{"nothing", amqp.Message{}, Delivery{Properties: none}},
		{
			"everything",
			amqp.Message{
				Properties: &amqp.MessageProperties{MessageID: "x", CorrelationID: uint64(9), Subject: &subject, AbsoluteExpiryTime: &local},
				Annotations: amqp.Annotations{
					"x-opt-sequence-number": uint64(12), "iothub-enqueuedtime": local, "iothub-deliverycount": uint8(3), "x-opt-lock-token": "t",
				},
				ApplicationProperties: map[string]any{"s": "text", "i": int32(-5), "b": true, "raw": []byte{1, 255}, "t": local, "nil": nil},
				Data:                  [][]byte{[]byte("ab"), []byte("c")},
			},
			Delivery{
				ID: "s:x", MessageID: "x", CorrelationID: "9", Subject: "relay", Expires: when, Sequence: 12, Enqueued: when, DeliveryCount: 3,
				Properties: map[string]string{"s": "text", "i": "-5", "b": "true", "raw": "01ff", "t": "2026-05-04T03:02:01Z", "nil": ""}, Body: []byte("abc"),
			},
		},
		{"number id", amqp.Message{Properties: &amqp.MessageProperties{MessageID: uint64(1)}}, Delivery{ID: "u:1", MessageID: "1", Properties: none}},
		{
			"uuid id",
			amqp.Message{Properties: &amqp.MessageProperties{MessageID: uuid}},
			Delivery{ID: "uuid:00010203-0405-0607-0809-0a0b0c0d0e0f", MessageID: "00010203-0405-0607-0809-0a0b0c0d0e0f", Properties: none},
		},
		{"binary id", amqp.Message{Properties: &amqp.MessageProperties{MessageID: []byte{0xab}}}, Delivery{ID: "b:ab", MessageID: "ab", Properties: none}},
		{"empty id", amqp.Message{Properties: &amqp.MessageProperties{MessageID: ""}}, Delivery{ID: "s:", Properties: none}},
		{"value text", amqp.Message{Value: "v"}, Delivery{Properties: none, Body: []byte("v")}},
		{"value bytes", amqp.Message{Value: []byte("v")}, Delivery{Properties: none, Body: []byte("v")}},
		{"small sequence", amqp.Message{Annotations: amqp.Annotations{"x-opt-sequence-number": int32(7)}}, Delivery{Sequence: 7, Properties: none}},
		{"long sequence", amqp.Message{Annotations: amqp.Annotations{"x-opt-sequence-number": int64(7)}}, Delivery{Sequence: 7, Properties: none}},
		{"below zero", amqp.Message{Annotations: amqp.Annotations{"x-opt-sequence-number": int64(-7), "iothub-deliverycount": uint64(1 << 40)}}, Delivery{Properties: none}},
		{"odd types", amqp.Message{Annotations: amqp.Annotations{"x-opt-sequence-number": "7", "iothub-enqueuedtime": "now"}}, Delivery{Properties: none}},
	}
	for _, tt := range tests {
		got, err := delivery(&tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff(&tt.want, got, cmpopts.IgnoreUnexported(Delivery{})); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestDeliveryRefuses(t *testing.T) {
	tests := []struct {
		in   amqp.Message
		want string
	}{
		{amqp.Message{Data: [][]byte{make([]byte, 64<<10), {1}}}, "larger than"},
		{amqp.Message{ApplicationProperties: map[string]any{"x": strings.Repeat("x", 64<<10)}}, "larger than"},
		{amqp.Message{Value: int64(1)}, "type int64"},
		{amqp.Message{Value: map[string]any{}}, "type map"},
		{amqp.Message{Sequence: [][]any{{"x"}}}, "sequence"},
	}
	for _, tt := range tests {
		if _, err := delivery(&tt.in); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
	if got := clip(strings.Repeat("ä", 1000)); len(got) != maxReason {
		t.Errorf("%d bytes of a reason", len(got))
	}
	if got := clip("x" + strings.Repeat("ä", 1000)); len(got) != maxReason-1 {
		t.Errorf("%d bytes of a reason cut inside a letter", len(got))
	}
}
