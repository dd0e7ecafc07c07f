package service

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/Azure/go-amqp"
)

// The annotations that Event Hubs and IoT Hub stamp on each event.
const (
	annSequence = "x-opt-sequence-number"
	annOffset   = "x-opt-offset"
	annEnqueued = "x-opt-enqueued-time"
	annDevice   = "iothub-connection-device-id"
)

func newEvent(m *amqp.Message, partition string) *Event {
	e := &Event{Partition: partition, Sequence: -1, Properties: map[string]string{}, Annotations: map[string]any{}, Body: bodyOf(m)}
	for k, v := range m.ApplicationProperties {
		e.Properties[k] = plainText(v)
	}
	for k, v := range m.Annotations {
		key := plainText(k)
		switch key {
		case annSequence:
			e.Sequence = integer(v)
		case annOffset:
			e.Offset = plainText(v)
		case annEnqueued:
			e.Enqueued, _ = v.(time.Time)
		case annDevice:
			e.Device = plainText(v)
		}
		e.Annotations[key] = plainValue(v)
	}
	if p := m.Properties; p != nil {
		e.MessageID = plainText(p.MessageID)
		if p.ContentType != nil {
			e.ContentType = *p.ContentType
		}
	}
	return e
}

// bodyOf returns the bytes of a body: its data sections joined, or the text of a value.
func bodyOf(m *amqp.Message) []byte {
	switch v := m.Value.(type) {
	case string:
		return []byte(v)
	case []byte:
		return v
	}
	return bytes.Join(m.Data, nil)
}

// integer returns a number of any of AMQP's widths, -1 for everything else.
func integer(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case int32:
		return int64(n)
	case int16:
		return int64(n)
	case uint64:
		if n > math.MaxInt64 {
			return -1
		}
		return int64(n)
	case uint32:
		return int64(n)
	case uint16:
		return int64(n)
	}
	return -1
}

// eventTime is RFC 3339 with milliseconds, in UTC.
const eventTime = "2006-01-02T15:04:05.000Z"

// plainText returns a simple AMQP value as a person would write it.
func plainText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return hex.EncodeToString(v)
	case time.Time:
		return v.UTC().Format(eventTime)
	}
	return fmt.Sprint(v) // numbers, truth values, symbols, and UUID, which is a Stringer
}

// plainValue returns what JSON shows for an AMQP value: numbers and truth values as they are, everything else as text.
func plainValue(v any) any {
	switch v := v.(type) {
	case bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, nil:
		return v
	case float32:
		return plainValue(float64(v))
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) { // which JSON lacks
			return v
		}
	}
	return plainText(v)
}

// eventJSON is the shape of an event for scripts.
type eventJSON struct {
	Device      string            `json:"device"`
	Partition   any               `json:"partition"`
	Sequence    int64             `json:"sequence"`
	Offset      string            `json:"offset"`
	Enqueued    string            `json:"enqueued"`
	MessageID   string            `json:"message_id"`
	ContentType string            `json:"content_type"`
	Properties  map[string]string `json:"properties"`
	Annotations map[string]any    `json:"annotations"`
	Body        *string           `json:"body,omitempty"`
	BodyBase64  []byte            `json:"body_base64,omitempty"`
}

// MarshalJSON returns the object that `hubsim --events` writes too: partition is a number where its id is one, body is text when it is UTF-8,
// otherwise body_base64 holds it.
func (e *Event) MarshalJSON() ([]byte, error) {
	out := eventJSON{
		Device: e.Device, Partition: e.Partition, Sequence: e.Sequence, Offset: e.Offset, Enqueued: e.Enqueued.UTC().Format(eventTime),
		MessageID: e.MessageID, ContentType: e.ContentType, Properties: e.Properties, Annotations: e.Annotations,
	}
	if n, err := strconv.Atoi(e.Partition); err == nil && strconv.Itoa(n) == e.Partition {
		out.Partition = n
	}
	if utf8.Valid(e.Body) {
		text := string(e.Body)
		out.Body = &text
	} else {
		out.BodyBase64 = e.Body
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // an encoder that wants it escapes what we return
	if err := enc.Encode(out); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
