package iothub

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	amqp "github.com/Azure/go-amqp"
)

// The hub's limits ("IoT Hub quotas and throttling").
const (
	// MaxMessage is the largest telemetry message, as Size measures it.
	MaxMessage = 256 << 10
	// maxCommand is the largest cloud-to-device message.
	maxCommand = 64 << 10

	maxID         = 128
	creationTime  = "iothub-creation-time-utc"
	creationStyle = "2006-01-02T15:04:05.000Z"
)

// Size returns the bytes that the hub counts against its limit and its quota: the body, the values of system properties, and the names and values of
// application properties.
func (m *Message) Size() int {
	n := len(m.Body) + len(m.ID) + len(m.CorrelationID) + len(m.ContentType) + len(m.ContentEncoding)
	if !m.Created.IsZero() {
		n += len(creationTime) + len(creationStyle)
	}
	for i := range m.Properties {
		n += len(m.Properties[i].Name) + len(m.Properties[i].Value)
	}
	return n
}

// check returns why a message can never be sent, so that it need not be tried.
func (m *Message) check() *Error {
	fault := func(format string, args ...any) *Error {
		return &Error{Op: "send", Class: ClassMessage, Err: fmt.Errorf(format, args...)}
	}
	if m.ID == "" || len(m.ID) > maxID {
		return fault("message id of %d characters; it must have 1 to %d", len(m.ID), maxID)
	}
	if n := m.Size(); n > MaxMessage {
		return fault("message of %d bytes is larger than the hub's limit of %d", n, MaxMessage)
	}
	valid := utf8.ValidString(m.ID) && utf8.ValidString(m.CorrelationID) && utf8.ValidString(m.ContentType) && utf8.ValidString(m.ContentEncoding)
	for i, p := range m.Properties {
		if p.Name == "" {
			return fault("message has a property without a name")
		}
		valid = valid && utf8.ValidString(p.Name) && utf8.ValidString(p.Value)
		for _, before := range m.Properties[:i] {
			if before.Name == p.Name {
				return fault("message has the property %q twice", p.Name)
			}
		}
	}
	if !valid {
		return fault("message has a property that is not UTF-8")
	}
	return nil
}

// delivery makes a Delivery of a cloud-to-device message, or says why the message cannot be one.
func delivery(m *amqp.Message) (*Delivery, error) {
	d := &Delivery{Properties: map[string]string{}}
	if p := m.Properties; p != nil {
		d.ID, d.MessageID = identity(p.MessageID)
		_, d.CorrelationID = identity(p.CorrelationID)
		if p.Subject != nil {
			d.Subject = *p.Subject
		}
		if p.AbsoluteExpiryTime != nil {
			d.Expires = p.AbsoluteExpiryTime.UTC()
		}
	}
	for name, value := range m.ApplicationProperties {
		d.Properties[name] = text(value)
	}
	d.Sequence, _ = integer(m.Annotations["x-opt-sequence-number"])
	if t, ok := m.Annotations["iothub-enqueuedtime"].(time.Time); ok {
		d.Enqueued = t.UTC()
	}
	if n, ok := integer(m.Annotations["iothub-deliverycount"]); ok && n <= math.MaxInt32 {
		d.DeliveryCount = int(n)
	}
	body, err := bodyOf(m)
	if err != nil {
		return nil, err
	}
	size := len(body)
	for name, value := range d.Properties {
		size += len(name) + len(value)
	}
	if size > maxCommand {
		return nil, fmt.Errorf("command of %d bytes is larger than %d", size, maxCommand)
	}
	d.Body = body
	return d, nil
}

func bodyOf(m *amqp.Message) ([]byte, error) {
	switch {
	case m.Sequence != nil:
		return nil, errors.New("command body is an AMQP sequence; send bytes or text")
	case len(m.Data) == 1:
		return m.Data[0], nil
	case len(m.Data) > 1:
		var body []byte
		for _, part := range m.Data {
			body = append(body, part...)
		}
		return body, nil
	}
	switch v := m.Value.(type) {
	case nil:
		return nil, nil
	case string:
		return []byte(v), nil
	case []byte:
		return v, nil
	}
	return nil, fmt.Errorf("command body is an AMQP value of type %T; send bytes or text", m.Value)
}

// identity returns a message-id with its type's tag, so that ids of different types never meet, and as plain text.
func identity(id any) (tagged, plain string) {
	switch v := id.(type) {
	case string:
		return "s:" + v, v
	case uint64:
		plain = fmt.Sprint(v)
		return "u:" + plain, plain
	case amqp.UUID:
		plain = v.String()
		return "uuid:" + plain, plain
	case []byte:
		plain = hex.EncodeToString(v)
		return "b:" + plain, plain
	}
	return "", ""
}

// text returns an application property as the text that a person would write for it.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return hex.EncodeToString(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

// integer returns an annotation of any integer type; which one is sent differs between gateways.
func integer(v any) (uint64, bool) {
	var n int64
	switch v := v.(type) {
	case uint64:
		return v, true
	case uint32:
		return uint64(v), true
	case uint16:
		return uint64(v), true
	case uint8:
		return uint64(v), true
	case int64:
		n = v
	case int32:
		n = int64(v)
	case int16:
		n = int64(v)
	case int8:
		n = int64(v)
	default:
		return 0, false
	}
	if n < 0 {
		return 0, false
	}
	return uint64(n), true
}
