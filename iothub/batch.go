package iothub

import (
	"context"

	amqp "github.com/Azure/go-amqp"
)

// batchFormat is the message-format of IoT Hub's and Event Hubs' batches: each data section is a whole encoded message.
const batchFormat = 0x80013700

// SendBatch is Send for several messages in one transfer with one outcome for all: accepted is all of them, rejected none. Together they must not exceed
// MaxMessage, as Size and their encoding count. Messages that could never be sent make the receipt say Rejected, with ClassMessage: send them one by one then.
func (c *Client) SendBatch(ctx context.Context, ms []*Message) (*Receipt, error) {
	batch := &amqp.Message{Format: batchFormat}
	for _, m := range ms {
		if fault := m.check(); fault != nil {
			return settledReceipt(Outcome{State: Rejected, Err: fault}), nil
		}
		inner, err := m.encode().MarshalBinary()
		if err != nil {
			return settledReceipt(Outcome{State: Rejected, Err: &Error{Op: "send", Class: ClassMessage, Err: err}}), nil
		}
		batch.Data = append(batch.Data, inner)
	}
	return c.transmit(ctx, batch)
}
