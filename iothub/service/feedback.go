package service

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/Azure/go-amqp"
)

// Feedback tells the outcome of one command (Microsoft, "Send messages from the cloud to your device with IoT Hub": message feedback).
type Feedback struct {
	OriginalMessageID  string    `json:"originalMessageId"`
	EnqueuedTimeUTC    time.Time `json:"enqueuedTimeUtc"`
	StatusCode         string    `json:"statusCode"` // Success, Expired, DeliveryCountExceeded, Rejected or Purged
	Description        string    `json:"description"`
	DeviceID           string    `json:"deviceId"`
	DeviceGenerationID string    `json:"deviceGenerationId"`
}

const feedbackAddress = "/messages/serviceBound/feedback"

// Feedback receives outcomes until ctx is done or take returns false, which are not errors, or the connection fails. ready, which may be nil, is
// called once the hub has attached the receiver. A batch of records is settled after take has seen all of it: what a failing
// process did not see comes again.
func (c *Client) Feedback(ctx context.Context, ready func(), take func(Feedback) (more bool)) error {
	conn, err := c.hubConn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // whatever was not settled comes again
	sess, err := conn.NewSession(ctx, nil)
	if err != nil {
		return fmt.Errorf("feedback: %w", explain(err))
	}
	rcv, err := sess.NewReceiver(ctx, feedbackAddress, &amqp.ReceiverOptions{Credit: 10})
	if err != nil {
		return fmt.Errorf("feedback: %w", explain(err))
	}
	if ready != nil {
		ready()
	}
	for {
		m, err := rcv.Receive(ctx, nil)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the caller ended it
		}
		if err != nil {
			return fmt.Errorf("feedback: %w", explain(err))
		}
		more, err := takeBatch(ctx, rcv, m, take)
		if err != nil || !more {
			return err
		}
	}
}

func takeBatch(ctx context.Context, rcv *amqp.Receiver, m *amqp.Message, take func(Feedback) bool) (more bool, err error) {
	var records []Feedback
	if err := json.Unmarshal(m.GetData(), &records); err != nil {
		err = fmt.Errorf("feedback: not the JSON that IoT Hub sends: %w", err)
		if rerr := rcv.RejectMessage(ctx, m, &amqp.Error{Condition: amqp.ErrCondDecodeError, Description: "not a JSON array of feedback"}); rerr != nil {
			return false, explain(rerr)
		}
		return false, err
	}
	more = true
	for _, r := range records {
		more = take(r) && more
	}
	if err := rcv.AcceptMessage(ctx, m); err != nil && ctx.Err() == nil {
		return false, fmt.Errorf("feedback: settle: %w", explain(err))
	}
	return more, nil
}
