package hubsim

import (
	"fmt"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim/amqpd"
)

// maxTelemetry is the size of one telemetry message or one batch, as the hub meters it.
const maxTelemetry = 262_144

// telemetryLocked stores one message or one batch and then settles it, unless a fault says otherwise.
func (s *Server) telemetryLocked(l *link, d *amqpd.Incoming) {
	verdict := s.telemetryFault(l.addr.identity())
	if verdict.refuses() {
		s.settleLater(d, verdict.state(), verdict.Delay)
		return
	}
	messages, refusal := decodeTelemetry(d)
	if refusal != nil {
		s.opts.Logger.Info("telemetry refused", "device", l.addr.identity(), "condition", string(refusal.Condition))
		d.Settle(amqpd.State{Kind: amqpd.Rejected, Error: refusal})
		return
	}
	if verdict == (Verdict{}) {
		if verdict = s.contentFaultLocked(l.addr.identity(), messages); verdict.refuses() {
			s.settleLater(d, verdict.state(), verdict.Delay)
			return
		}
	}
	device := s.devices[l.addr.identity()]
	if device == nil {
		d.Settle(rejected(condNotFound, describe(404001, "Device not registered.", s.opts.Now())))
		return
	}
	device.lastActivity = s.opts.Now()
	for _, m := range messages {
		s.storeLocked(device, l, m)
	}
	if verdict.Outcome != Lose {
		s.settleLater(d, amqpd.State{Kind: amqpd.Accepted}, verdict.Delay)
	}
}

// settleLater settles a delivery after a delay, at once without one.
func (s *Server) settleLater(d *amqpd.Incoming, state amqpd.State, delay time.Duration) {
	if delay <= 0 {
		d.Settle(state)
		return
	}
	time.AfterFunc(delay, func() { s.settle(d, state) })
}

// decodeTelemetry returns the messages of a delivery, all of them or a refusal.
func decodeTelemetry(d *amqpd.Incoming) ([]*amqp.Message, *amqpd.Error) {
	outer, err := decodeMessage(d.Payload)
	if err != nil {
		return nil, &amqpd.Error{Condition: condDecode, Description: err.Error()}
	}
	messages := []*amqp.Message{outer}
	if d.Format == batchFormat {
		if messages, err = decodeBatch(outer); err != nil {
			return nil, &amqpd.Error{Condition: condDecode, Description: err.Error()}
		}
	}
	size := 0
	for _, m := range messages {
		size += meteredSize(m)
		if _, err := encodeMessage(m); err != nil { // nobody could read it
			return nil, &amqpd.Error{Condition: condDecode, Description: err.Error()}
		}
	}
	if size > maxTelemetry {
		return nil, &amqpd.Error{Condition: condSize, Description: fmt.Sprintf("the message has %d bytes, %d are allowed", size, maxTelemetry)}
	}
	return messages, nil
}

func decodeBatch(outer *amqp.Message) ([]*amqp.Message, error) {
	if len(outer.Data) == 0 {
		return nil, fmt.Errorf("%w: a batch without messages", errUndecodable)
	}
	messages := make([]*amqp.Message, 0, len(outer.Data))
	for i, data := range outer.Data {
		m, err := decodeMessage(data)
		if err != nil {
			return nil, fmt.Errorf("message %d of the batch: %w", i+1, err)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// storeLocked appends a message to its device's partition and shows it to everyone who reads there.
func (s *Server) storeLocked(d *device, l *link, m *amqp.Message) {
	n := partitionOf(d.id, len(s.partitions))
	p := s.partitions[n]
	e := newEvent(m, d, l.conn.authMethodLocked(l.addr), s.opts.Now())
	if model := l.wire.Properties.String("com.microsoft:model-id"); model != "" {
		e.message.Annotations["dt-dataschema"] = model
		d.model = model
	}
	s.accepted++
	e.nth = s.accepted
	size := meteredSize(m)
	d.metered.today(s.opts.Now()).units += units(size)
	p.append(e, size, s.opts.Retention)
	e.stamp(n)
	s.keep.event(e, p.bytes)
	if s.opts.Events != nil {
		s.opts.Events(e)
	}
	for r := range p.readers {
		s.pumpEventsLocked(r)
	}
}
