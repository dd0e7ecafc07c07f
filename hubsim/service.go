package hubsim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim/amqpd"
)

// serviceSendLocked takes one command from a service; its property to says for which device.
func (s *Server) serviceSendLocked(d *amqpd.Incoming) {
	m, err := decodeMessage(d.Payload)
	if err != nil {
		d.Settle(rejected(condDecode, err.Error()))
		return
	}
	var to string
	if m.Properties != nil {
		to = deref(m.Properties.To)
	}
	a := parseAddress(to, s.entity())
	if a.node != nodeCommands {
		d.Settle(rejected(condArgument, describe(400004, "to: want /devices/{id}/messages/devicebound.", s.opts.Now())))
		return
	}
	if refusal := s.enqueueLocked(a.identity(), m); refusal != nil {
		d.Settle(amqpd.State{Kind: amqpd.Rejected, Error: refusal})
		return
	}
	d.Settle(amqpd.State{Kind: amqpd.Accepted})
}

// openEventsLocked places a partition receiver by its filter. A receiver with an epoch ousts those with a lower one or none.
func (s *Server) openEventsLocked(l *link) *amqpd.Error {
	n, err := strconv.Atoi(l.addr.partition)
	if err != nil || n < 0 || n >= len(s.partitions) {
		return &amqpd.Error{Condition: condNotFound, Description: describe(404006, "There is no partition "+strconv.Quote(l.addr.partition)+".", s.opts.Now())}
	}
	p := s.partitions[n]
	match := func(*Event) bool { return true } // without a filter: from the earliest event
	if l.wire.Source != nil {
		for _, entry := range l.wire.Source.Filter {
			text, ok := selectorText(entry.Value)
			if !ok {
				continue
			}
			if match, err = parseSelector(text); err != nil {
				return &amqpd.Error{Condition: condInvalidField, Description: err.Error()}
			}
		}
	}
	if err := s.rankLocked(p, l); err != nil {
		return err
	}
	l.next = p.from(match)
	p.readers[l] = true
	return nil
}

// rankLocked lets the receiver with the highest epoch of a consumer group read alone.
func (s *Server) rankLocked(p *partition, l *link) *amqpd.Error {
	if v, ok := l.wire.Properties.Get("com.microsoft:epoch"); ok {
		if n, err := strconv.ParseInt(plainText(v), 10, 64); err == nil {
			l.epoch = &n
		}
	}
	for o := range p.readers {
		switch {
		case o.addr.group != l.addr.group || (o.epoch == nil && l.epoch == nil):
		case l.epoch == nil || (o.epoch != nil && *o.epoch > *l.epoch):
			return &amqpd.Error{Condition: condStolen, Description: "A receiver with a higher epoch reads this partition."}
		default:
			s.detachLocked(o, condStolen, "A receiver with a higher epoch has taken over this partition.")
		}
	}
	return nil
}

// selectorText finds the text of a selector filter: a described string.
func selectorText(v any) (string, bool) {
	if d, ok := v.(*amqpd.Described); ok {
		v = d.Value
	}
	text, ok := v.(string)
	return text, ok
}

// pumpEventsLocked sends the events that a partition receiver has not seen, as far as its credit goes.
func (s *Server) pumpEventsLocked(l *link) {
	n, err := strconv.Atoi(l.addr.partition)
	if err != nil {
		return
	}
	p := s.partitions[n]
	for p.readers[l] && l.wire.Credit() > 0 {
		e := p.at(l.next)
		if e == nil {
			return
		}
		payload, err := encodeMessage(e.message)
		if err != nil {
			s.opts.Logger.Warn("event cannot be encoded", "sequence", e.Sequence, "error", err)
			l.next = e.Sequence + 1
			continue
		}
		if _, err := l.wire.Send(payload, nil); err != nil {
			return
		}
		l.next = e.Sequence + 1
	}
}

// manageLocked answers a READ about the event hub or one of its partitions.
func (c *conn) manageLocked(d *amqpd.Incoming) {
	m, err := decodeMessage(d.Payload)
	if err != nil {
		d.Settle(rejected(condDecode, err.Error()))
		return
	}
	d.Settle(amqpd.State{Kind: amqpd.Accepted})
	s := c.s
	property := func(key string) string { return plainText(m.ApplicationProperties[key]) }
	if property("operation") != "READ" {
		c.replyLocked(nodeManagement, m, 400, "operation: want READ", nil)
		return
	}
	switch property("type") {
	case "com.microsoft:eventhub":
		ids := make([]string, len(s.partitions))
		for i := range ids {
			ids[i] = strconv.Itoa(i)
		}
		c.replyLocked(nodeManagement, m, 200, "OK", map[string]any{
			"name": s.entity(), "type": "com.microsoft:eventhub", "created_at": s.created,
			"partition_count": int32(len(ids)), "partition_ids": ids,
		})
	case "com.microsoft:partition":
		n, err := strconv.Atoi(property("partition"))
		if err != nil || n < 0 || n >= len(s.partitions) {
			c.replyLocked(nodeManagement, m, 404, "There is no partition "+strconv.Quote(property("partition"))+".", nil)
			return
		}
		c.replyLocked(nodeManagement, m, 200, "OK", s.partitionInfo(n))
	default:
		c.replyLocked(nodeManagement, m, 400, "type: want com.microsoft:eventhub or com.microsoft:partition", nil)
	}
}

func (s *Server) partitionInfo(n int) map[string]any {
	p := s.partitions[n]
	info := map[string]any{
		"name": s.entity(), "type": "com.microsoft:partition", "partition": strconv.Itoa(n),
		"begin_sequence_number": p.next, "last_enqueued_sequence_number": p.next - 1,
		"last_enqueued_offset": "-1", "last_enqueued_time_utc": time.Unix(0, 0).UTC(),
		"is_partition_empty": len(p.events) == 0,
	}
	if len(p.events) > 0 {
		last := p.events[len(p.events)-1]
		info["begin_sequence_number"] = p.events[0].Sequence
		info["last_enqueued_offset"], info["last_enqueued_time_utc"] = last.Offset, last.Enqueued.Time
	}
	return info
}

// SendCommand puts a command into the queue of a device, or of a module as "DEVICE/MODULE", as a service would. The message's property to is
// not needed. The error is or wraps
// ErrUnknownDevice or ErrQueueFull where that is the reason.
func (s *Server) SendCommand(id string, m *amqp.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.noteLocked()
	refusal := s.enqueueLocked(id, m)
	switch {
	case refusal == nil:
		return nil
	case refusal.Condition == condNotFound:
		return joinRefusal(ErrUnknownDevice, refusal)
	case refusal.Condition == condResourceLimit:
		return joinRefusal(ErrQueueFull, refusal)
	}
	return refusal
}

// PurgeCommands deletes every command that waits for a device, delivered and unsettled ones included, and returns how many there were.
func (s *Server) PurgeCommands(id string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d == nil {
		return 0, fmt.Errorf("purge commands of %q: %w", id, ErrUnknownDevice)
	}
	return d.commands.purge(), nil
}
