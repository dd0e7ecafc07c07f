package service

import (
	"context"
	"encoding/json"
	"errors"
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

// FeedbackOptions say who hears of the connection. Nil means nobody.
type FeedbackOptions struct {
	// Ready is called each time the hub has attached the receiver; nil is allowed.
	Ready func()
	// Lost hears of a connection that failed and will be made again; nil hears nothing.
	Lost func(err error, retryIn time.Duration)
}

const feedbackAddress = "/messages/serviceBound/feedback"

// Feedback receives outcomes, a batch of the hub's at a time, until ctx is done or take returns false or an error, which it then returns. A batch is settled
// after take returned without an error; otherwise, and when the connection fails first, the hub delivers it again, to whoever watches when
// its lock has ended (a minute).
// After a fault it connects anew. Only a certificate that is not trusted and a refusal of the policy end it.
func (c *Client) Feedback(ctx context.Context, o *FeedbackOptions, take func([]Feedback) (more bool, err error)) error {
	if o == nil {
		o = &FeedbackOptions{}
	}
	return persist(ctx, o.Lost, func(ctx context.Context) (done bool, err error) { return c.feedback(ctx, o.Ready, take) })
}

// feedback receives until something fails or take has enough (done).
func (c *Client) feedback(ctx context.Context, ready func(), take func([]Feedback) (bool, error)) (done bool, err error) {
	conn, err := c.hubConn(ctx)
	if err != nil {
		return false, err
	}
	defer conn.close() // whatever was not settled comes again
	sess, err := conn.NewSession(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("feedback: %w", explain(err))
	}
	rcv, err := sess.NewReceiver(ctx, feedbackAddress, &amqp.ReceiverOptions{Credit: 10})
	if err != nil {
		return false, fmt.Errorf("feedback: %w", explain(err))
	}
	if ready != nil {
		ready()
	}
	for {
		m, err := rcv.Receive(ctx, nil)
		if err != nil {
			return false, fmt.Errorf("feedback: %w", explain(err))
		}
		var batch []Feedback
		if json.Unmarshal(bodyOf(m), &batch) != nil {
			err = rcv.RejectMessage(ctx, m, &amqp.Error{Condition: amqp.ErrCondDecodeError, Description: "not a JSON array of feedback"})
			return true, errors.Join(errors.New("feedback: the hub sent what is not a JSON array of feedback; is this an IoT Hub?"), err)
		}
		more, err := take(batch)
		if err != nil {
			return true, err // not released: the hub would give it to this link again
		}
		err = rcv.AcceptMessage(ctx, m)
		switch {
		case !more:
			return true, nil // take has the records, settled or not
		case err != nil:
			return false, fmt.Errorf("feedback: settle: %w", explain(err))
		}
	}
}
