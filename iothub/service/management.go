package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/Azure/go-amqp"
)

// partition is one of an event hub, with the sequence number of its newest event (-1 when it never had one).
type partition struct {
	id   string
	last int64
}

// managementNode answers questions about an event hub: request and response, both over links of their own.
type managementNode struct {
	snd    *amqp.Sender
	rcv    *amqp.Receiver
	entity string
}

const replyTo = "hubctl-replies"

// readPartitions asks for the partitions of an event hub and where each ends.
func readPartitions(ctx context.Context, conn *amqp.Conn, entity string) ([]partition, error) {
	sess, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("$management: %w", explain(err))
	}
	defer func() { _ = sess.Close(ctx) }() // nothing hangs on it
	n := &managementNode{entity: entity}
	if n.snd, err = sess.NewSender(ctx, "$management", &amqp.SenderOptions{SourceAddress: replyTo}); err != nil {
		return nil, fmt.Errorf("$management: %w", explain(err))
	}
	if n.rcv, err = sess.NewReceiver(ctx, "$management", &amqp.ReceiverOptions{TargetAddress: replyTo, Credit: 1}); err != nil {
		return nil, fmt.Errorf("$management: %w", explain(err))
	}
	hub, err := n.read(ctx, map[string]any{"type": "com.microsoft:eventhub"})
	if err != nil {
		return nil, err
	}
	ids, ok := hub["partition_ids"].([]string)
	if !ok || len(ids) == 0 {
		return nil, errors.New("$management: the answer names no partitions")
	}
	partitions := make([]partition, len(ids))
	for i, id := range ids {
		p, err := n.read(ctx, map[string]any{"type": "com.microsoft:partition", "partition": id})
		if err != nil {
			return nil, err
		}
		partitions[i] = partition{id: id, last: integer(p["last_enqueued_sequence_number"])}
	}
	return partitions, nil
}

func (n *managementNode) read(ctx context.Context, what map[string]any) (map[string]any, error) {
	what["operation"], what["name"] = "READ", n.entity
	to := replyTo
	err := n.snd.Send(ctx, &amqp.Message{
		Properties: &amqp.MessageProperties{MessageID: NewID(), ReplyTo: &to}, ApplicationProperties: what, Data: [][]byte{{}},
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("$management: %w", explain(err))
	}
	m, err := n.rcv.Receive(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("$management: %w", explain(err))
	}
	if err := n.rcv.AcceptMessage(ctx, m); err != nil {
		return nil, fmt.Errorf("$management: %w", explain(err))
	}
	if code := integer(m.ApplicationProperties["status-code"]); code != 200 {
		return nil, fmt.Errorf("$management: status %d: %v", code, m.ApplicationProperties["status-description"])
	}
	answer, ok := m.Value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("$management: the answer is a %T, not a map", m.Value)
	}
	return answer, nil
}
