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

// managementNode answers questions about an event hub.
type managementNode struct {
	*caller
	entity string
}

// readPartitions asks for the partitions of an event hub and where each ends.
func readPartitions(ctx context.Context, conn *amqp.Conn, entity string) ([]partition, error) {
	c, err := newCaller(ctx, conn, "$management")
	if err != nil {
		return nil, err
	}
	defer c.close(ctx)
	n := &managementNode{c, entity}
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
	m, status, text, err := n.ask(ctx, &amqp.Message{ApplicationProperties: what, Data: [][]byte{{}}})
	if err != nil {
		return nil, err
	}
	if status != 200 {
		return nil, fmt.Errorf("$management: status %d: %s", status, text)
	}
	answer, ok := m.Value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("$management: the answer is a %T, not a map", m.Value)
	}
	return answer, nil
}
