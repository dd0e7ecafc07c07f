package service

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/Azure/go-amqp"
)

// Ack says which outcomes the hub reports as feedback.
type Ack string

// The values of the property iothub-ack.
const (
	AckNone     Ack = "none"
	AckPositive Ack = "positive"
	AckNegative Ack = "negative"
	AckFull     Ack = "full"
)

// Command is one cloud-to-device message.
type Command struct {
	// ID is the message-id; NewID makes one. Required for feedback.
	ID string
	// CorrelationID and Subject are optional.
	CorrelationID, Subject string
	// Expires is the absolute expiry time; zero leaves it to the hub (1 h by default).
	Expires time.Time
	// Ack asks for feedback; "" means none.
	Ack Ack
	// Properties are application properties; "command" names the command for iotagent.
	Properties map[string]string
	// Body is the JSON object of arguments, or empty.
	Body []byte
}

// NewID returns a random message-id.
func NewID() string { return rand.Text() }

const (
	sendAddress = "/messages/devicebound"
	maxCommand  = 64 << 10
)

// Send queues a command for a device and returns when the hub has it. The error wraps ErrDeviceUnknown, ErrQueueFull, ErrThrottled, ErrQuota or
// ErrUnauthorized where one applies.
func (c *Client) Send(ctx context.Context, device string, cmd *Command) error {
	if len(cmd.Body) > maxCommand {
		return fmt.Errorf("send to %s: the body has %d bytes; a command holds %d at most", device, len(cmd.Body), maxCommand)
	}
	conn, err := c.hubConn(ctx)
	if err != nil {
		return err
	}
	defer conn.close() // the outcome is known by then
	sess, err := conn.NewSession(ctx, nil)
	if err != nil {
		return commandError(device, err)
	}
	snd, err := sess.NewSender(ctx, sendAddress, nil)
	if err != nil {
		return commandError(device, err)
	}
	free(ctx, conn.Conn, snd)
	receipt, err := snd.SendWithReceipt(ctx, cmd.message(device), nil)
	if err != nil {
		return commandError(device, err)
	}
	state, err := receipt.Wait(ctx)
	for try := 0; err != nil && ctx.Err() == nil && try < 8; try++ {
		state, err = receipt.Wait(ctx) // it picks one at random when both the answer and the end of the link have come
	}
	if err != nil {
		return fmt.Errorf("send to %s: the hub's answer was lost; it may have the command: %w", device, explain(err))
	}
	return settled(device, state)
}

func settled(device string, state amqp.DeliveryState) error {
	switch s := state.(type) {
	case *amqp.StateAccepted:
		return nil
	case *amqp.StateRejected:
		if s.Error != nil {
			return commandError(device, s.Error)
		}
		return fmt.Errorf("send to %s: refused by the hub without a reason", device)
	}
	return fmt.Errorf("send to %s: given back by the hub; try again", device)
}

// commandError says what a refusal means for a command.
func commandError(device string, err error) error {
	remote, ok := errors.AsType[*amqp.Error](err)
	if explained := explain(err); ok && !errors.Is(explained, ErrThrottled) && !errors.Is(explained, ErrQuota) {
		switch remote.Condition {
		case amqp.ErrCondNotFound:
			return fmt.Errorf("send to %s: %w: %w", device, ErrDeviceUnknown, refusal{remote})
		case amqp.ErrCondResourceLimitExceeded:
			return fmt.Errorf("send to %s: %w: %w", device, ErrQueueFull, refusal{remote})
		}
	}
	return fmt.Errorf("send to %s: %w", device, explain(err))
}

func (cmd *Command) message(device string) *amqp.Message {
	to := "/devices/" + url.PathEscape(device) + "/messages/devicebound"
	m := &amqp.Message{
		Properties:            &amqp.MessageProperties{MessageID: cmd.ID, To: &to},
		ApplicationProperties: map[string]any{},
		Data:                  [][]byte{cmd.Body},
	}
	if cmd.CorrelationID != "" {
		m.Properties.CorrelationID = cmd.CorrelationID
	}
	if cmd.Subject != "" {
		m.Properties.Subject = &cmd.Subject
	}
	if !cmd.Expires.IsZero() {
		t := cmd.Expires.UTC()
		m.Properties.AbsoluteExpiryTime = &t
	}
	if cmd.Ack != "" {
		m.ApplicationProperties["iothub-ack"] = string(cmd.Ack)
	}
	for k, v := range cmd.Properties {
		m.ApplicationProperties[k] = v
	}
	return m
}
