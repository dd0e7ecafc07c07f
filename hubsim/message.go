package hubsim

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/Azure/go-amqp"
)

// batchFormat marks a transfer whose data sections each hold one encoded message.
const batchFormat = 0x80013700

var errUndecodable = errors.New("message cannot be decoded")

// decodeMessage reads a message with its sections in any order. A peer can write maps whose keys Go cannot hold, on which the decoder panics.
func decodeMessage(payload []byte) (m *amqp.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("%w: %v", errUndecodable, p)
		}
	}()
	m = new(amqp.Message)
	if err := m.UnmarshalBinary(payload); err != nil {
		return nil, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	return m, nil
}

// encodeMessage writes a message. What a peer sent can hold values that the decoder reads and the encoder does not know.
func encodeMessage(m *amqp.Message) (payload []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			payload, err = nil, fmt.Errorf("message cannot be encoded: %v", p)
		}
	}()
	return m.MarshalBinary()
}

// bodyOf returns the bytes of a body: its data sections joined, or the text of a value.
func bodyOf(m *amqp.Message) []byte {
	switch v := m.Value.(type) {
	case string:
		return []byte(v)
	case []byte:
		return v
	}
	if len(m.Data) == 1 {
		return m.Data[0]
	}
	return slices.Concat(m.Data...)
}

// meteredSize counts a message as the hub does: body, system properties' values, application properties' names and values.
func meteredSize(m *amqp.Message) int {
	n := len(bodyOf(m))
	if p := m.Properties; p != nil {
		n += len(idText(p.MessageID)) + len(idText(p.CorrelationID)) + len(p.UserID)
		n += len(deref(p.To)) + len(deref(p.ContentType)) + len(deref(p.ContentEncoding))
	}
	for k, v := range m.ApplicationProperties {
		n += len(k) + len(plainText(v))
	}
	return n
}

// idText returns a message-id or correlation-id of any of its four types as text; "" for none.
func idText(id any) string {
	if id == nil {
		return ""
	}
	return plainText(id)
}

// plainText returns a simple AMQP value as a person would write it.
func plainText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case amqp.Symbol:
		return string(v)
	case []byte:
		return hex.EncodeToString(v)
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.000Z")
	case bool:
		return strconv.FormatBool(v)
	}
	return fmt.Sprint(v) // numbers, and UUID, which is a Stringer
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

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func ptr[T any](v T) *T { return &v }

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
