package iothub

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	amqp "github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// The bytes of a batch of two that IoT Hub's own clients send.
func TestBatchBytes(t *testing.T) {
	sections, fault := encodeBatch([]*Message{
		{ID: "m1", Properties: []Property{{"k", "v"}}, Body: []byte("A")},
		{ID: "m2", Properties: []Property{{"k", "v"}}, Body: []byte("B")},
	})
	if fault != nil {
		t.Fatal(fault)
	}
	body, err := (&amqp.Message{Format: batchFormat, Data: sections}).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	want := "005375a028" + "005373d00000000800000001a1026d31005374d10000000a00000002a1016ba10176005375a00141" +
		"005375a028" + "005373d00000000800000001a1026d32005374d10000000a00000002a1016ba10176005375a00142"
	if got := hex.EncodeToString(body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// roundTrip holds our encoding against what the library makes of it, and against the sizes promised.
func roundTrip(t *testing.T, m *Message) {
	t.Helper()
	b := m.appendTo(nil)
	if n := m.encodedSize(); n != len(b) {
		t.Errorf("encoded size %d, promised %d", len(b), n)
	}
	got := &amqp.Message{}
	if err := got.UnmarshalBinary(b); err != nil {
		t.Fatalf("%v: %x", err, b)
	}
	if diff := cmp.Diff(m.encode(), got, cmpopts.IgnoreUnexported(amqp.Message{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%+v (-library +ours):\n%s", m, diff)
	}
	outer, err := (&amqp.Message{Data: [][]byte{b}}).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if n := m.BatchSize(); n != len(outer) {
		t.Errorf("%d bytes in a batch, promised %d", len(outer), n)
	}
}

func TestEncoding(t *testing.T) {
	created := time.Date(2026, 11, 22, 12, 0, 0, 5e6, time.UTC)
	long := strings.Repeat("x", 256)
	for _, m := range []Message{
		{ID: "m"},
		{ID: "m", Body: []byte{}},
		{ID: "m", Body: []byte(long[:255])},
		{ID: "m", Body: []byte(long)},
		{ID: "m", ContentEncoding: "utf-8"},
		{ID: "m", CorrelationID: "c", ContentType: "application/json", ContentEncoding: "utf-8", Created: created, Body: []byte("{}")},
		{ID: "m", ContentType: long, CorrelationID: long, Properties: []Property{{long, long}, {"", ""}}},
		{ID: "m", Created: created, Properties: []Property{{creationTime, "yesterday"}, {"k", "v"}}},
		{ID: "m", Body: make([]byte, 70_000)},
	} {
		roundTrip(t, &m)
	}
}

func TestBatchLimits(t *testing.T) {
	big := func(n int) *Message { return &Message{ID: "m", Body: make([]byte, n)} }
	overhead := big(70_000).BatchSize() - 70_000
	tests := []struct {
		name string
		ms   []*Message
		ok   bool
	}{
		{"nothing", nil, false},
		{"one", []*Message{big(10)}, true},
		{"to the byte", []*Message{big(70_000), big(MaxMessage - 70_000 - 2*overhead)}, true},
		{"a byte more", []*Message{big(70_000), big(MaxMessage - 70_000 - 2*overhead + 1)}, false},
		{"a bad one", []*Message{big(10), {}}, false},
	}
	for _, tt := range tests {
		if _, fault := encodeBatch(tt.ms); (fault == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, fault)
		} else if fault != nil && fault.Class != ClassMessage {
			t.Errorf("%s: class %s", tt.name, fault.Class)
		}
	}
}

func FuzzEncoding(f *testing.F) {
	f.Add("id", "correlation", "application/json", "utf-8", int64(1_800_000_000_000), "key", "value", []byte("body"))
	f.Add("", "", "", "", int64(0), "", "", []byte(nil))
	f.Add("i", "", "t", "", int64(-1), creationTime, "", make([]byte, 300))
	f.Fuzz(func(t *testing.T, id, correlation, contentType, contentEncoding string, created int64, key, value string, body []byte) {
		for _, s := range []string{id, correlation, contentType, contentEncoding, key, value} {
			if !utf8.ValidString(s) {
				t.Skip("never encoded: check refuses it")
			}
		}
		m := &Message{
			ID: id, CorrelationID: correlation, ContentType: contentType, ContentEncoding: contentEncoding,
			Properties: []Property{{key, value}}, Body: body,
		}
		if created != 0 {
			m.Created = time.UnixMilli(created)
		}
		if year := m.Created.Year(); id == "" || year < 0 || year > 9999 {
			t.Skip("never sent, or of another length")
		}
		roundTrip(t, m)
	})
}

func BenchmarkEncodeBatch(b *testing.B) {
	ms := make([]*Message, 100)
	for i := range ms {
		ms[i] = &Message{
			ID: "0000000000000abc-normal-123456", ContentType: "application/json", ContentEncoding: "utf-8", Created: time.Unix(1_800_000_000, 0),
			Properties: []Property{{"epoch", "0000000000000abc"}, {"lane", "normal"}, {"seq", "123456"}}, Body: make([]byte, 200),
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, fault := encodeBatch(ms); fault != nil {
			b.Fatal(fault)
		}
	}
}
