package iothub

import (
	"context"
	"fmt"
)

// batchFormat is the message-format of IoT Hub's and Event Hubs' batches: each data section is a whole encoded message.
const batchFormat = 0x80013700

// SendBatch is Send for several messages in one transfer with one outcome for all: accepted is all of them, rejected none. Together they must not exceed
// MaxMessage, as Size and as BatchSize count. Messages that could never be sent make the receipt say Rejected, with ClassMessage: send them one by one then.
func (c *Client) SendBatch(ctx context.Context, ms []*Message) (*Receipt, error) {
	sections, fault := encodeBatch(ms)
	if fault != nil {
		return settledReceipt(Outcome{State: Rejected, Err: fault}), nil //nolint:nilerr // the receipt says it
	}
	return c.transmit(ctx, batchFormat, func(b []byte) []byte {
		for _, s := range sections {
			b = append(appendData(b, len(s)), s...)
		}
		return b
	})
}

// encodeBatch returns the data sections of a batch, or why it can never be sent.
func encodeBatch(ms []*Message) ([][]byte, *Error) {
	metered, encoded := 0, 0
	for _, m := range ms {
		if fault := m.check(); fault != nil {
			return nil, fault
		}
		metered += m.Size()
		encoded += m.BatchSize()
	}
	if n := max(metered, encoded); n > MaxMessage || len(ms) == 0 {
		return nil, &Error{Op: "send", Class: ClassMessage, Err: fmt.Errorf("batch of %d messages and %d bytes; the limit is %d bytes", len(ms), n, MaxMessage)}
	}
	sections := make([][]byte, len(ms))
	buf := make([]byte, 0, encoded)
	for i, m := range ms {
		from := len(buf)
		buf = m.appendTo(buf)
		sections[i] = buf[from:len(buf):len(buf)]
	}
	return sections, nil
}
