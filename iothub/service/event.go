package service

import (
	"encoding/json"
	"fmt"
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
	e := &Event{Partition: partition, Properties: m.ApplicationProperties, Annotations: map[string]any{}, Body: m.GetData()}
	for k, v := range m.Annotations {
		e.Annotations[fmt.Sprint(k)] = v
	}
	e.Device, _ = e.Annotations[annDevice].(string)
	e.Sequence = integer(e.Annotations[annSequence])
	e.Offset = fmt.Sprint(e.Annotations[annOffset])
	e.Enqueued, _ = e.Annotations[annEnqueued].(time.Time)
	if p := m.Properties; p != nil {
		if p.MessageID != nil {
			e.MessageID = fmt.Sprint(p.MessageID)
		}
		if p.ContentType != nil {
			e.ContentType = *p.ContentType
		}
	}
	return e
}

func integer(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case int32:
		return int64(n)
	case uint64:
		return int64(n) //nolint:gosec // sequence numbers stay far below
	case uint32:
		return int64(n)
	}
	return -1
}

// MarshalJSON returns the object that `hubsim --events` writes too: body is text when it is UTF-8, otherwise body_base64 holds it.
func (e *Event) MarshalJSON() ([]byte, error) {
	out := struct {
		Device      string         `json:"device"`
		Partition   string         `json:"partition"`
		Sequence    int64          `json:"sequence"`
		Offset      string         `json:"offset"`
		Enqueued    string         `json:"enqueued"`
		MessageID   string         `json:"message_id"`
		ContentType string         `json:"content_type"`
		Properties  map[string]any `json:"properties"`
		Annotations map[string]any `json:"annotations"`
		Body        *string        `json:"body,omitempty"`
		BodyBase64  []byte         `json:"body_base64,omitempty"`
	}{
		e.Device, e.Partition, e.Sequence, e.Offset, e.Enqueued.UTC().Format("2006-01-02T15:04:05.000Z"), e.MessageID, e.ContentType,
		e.Properties, e.Annotations, nil, nil,
	}
	if utf8.Valid(e.Body) {
		s := string(e.Body)
		out.Body = &s
	} else {
		out.BodyBase64 = e.Body
	}
	return json.Marshal(out)
}
