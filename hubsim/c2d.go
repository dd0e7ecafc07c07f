package hubsim

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim/amqpd"
)

// maxCommand is the size of one cloud-to-device message.
const maxCommand = 65_536

// addDeviceLocked registers a device with an empty queue.
func (s *Server) addDeviceLocked(d *device) {
	d.commands = &queue{
		mu: &s.mu, now: s.opts.Now, lock: s.opts.CommandLock, limit: s.opts.QueueLimit,
		maxDeliveries: s.opts.MaxDeliveries, countLockLoss: s.opts.CountLockLoss,
		note: s.noteQueue, flush: s.flushQueues, keptAs: d.key(), generation: d.generation,
		ready: func() { s.pumpCommandsLocked(d) },
		ended: func(it *item, status string) {
			if it.wants(status) {
				s.feedback.add(it.feedbackRecord(d, status, s.opts.Now()))
			}
			s.noteLocked()
		},
	}
	d.twin = newTwin(s.opts.Now())
	s.devices[d.key()] = d
}

// wants reports whether the sender of a command asked to hear of this end (property iothub-ack).
func (it *item) wants(status string) bool {
	switch it.ack {
	case "full":
		return true
	case "positive":
		return status == statusSuccess
	case "negative":
		return status != statusSuccess
	}
	return false
}

// enqueueLocked puts a command into its device's queue or returns the refusal that its sender gets.
func (s *Server) enqueueLocked(id string, m *amqp.Message) *amqpd.Error {
	now := s.opts.Now()
	fail := func(condition string, code int, text string) *amqpd.Error {
		return &amqpd.Error{Condition: amqpd.Symbol(condition), Description: describe(code, text, now)}
	}
	d := s.devices[id]
	if d == nil {
		return fail(condNotFound, 404001, fmt.Sprintf("Device %s not registered.", id))
	}
	if n := meteredSize(m); n > maxCommand {
		return fail(condSize, 413001, fmt.Sprintf("The message has %d bytes, %d are allowed.", n, maxCommand))
	}
	if _, err := encodeMessage(m); err != nil {
		return fail(condDecode, 400004, err.Error())
	}
	it := &item{msg: m, expires: now.Add(s.opts.CommandTTL), ack: plainText(m.ApplicationProperties["iothub-ack"])}
	switch it.ack {
	case "", "none", "positive", "negative", "full":
	default:
		return fail(condArgument, 400004, "iothub-ack: want none, positive, negative or full.")
	}
	if p := m.Properties; p != nil && p.AbsoluteExpiryTime != nil {
		it.expires = *p.AbsoluteExpiryTime
	}
	if !d.commands.push(it) {
		return fail(condResourceLimit, 403004, fmt.Sprintf("The queue of device %s is full.", id))
	}
	return nil
}

// pumpCommandsLocked delivers what waits for a device, as far as its link's credit goes.
func (s *Server) pumpCommandsLocked(d *device) {
	if d.conn == nil {
		return
	}
	for l := range d.conn.links {
		if l.addr.node != nodeCommands || l.addr.identity() != d.key() {
			continue
		}
		deliver(d.commands, l, func(it *item) ([]byte, error) { return encodeCommand(d, it) })
		return
	}
}

// deliver sends messages from a queue on a link while both last.
func deliver(q *queue, l *link, encode func(*item) ([]byte, error)) {
	for l.wire.Credit() > 0 {
		it := q.take()
		if it == nil {
			return
		}
		t := it.token
		payload, err := encode(it)
		if err == nil {
			_, err = l.wire.Send(payload, &amqpd.SendOptions{Tag: t[:], Value: t})
		}
		switch {
		case errors.Is(err, amqpd.ErrNoCredit) || errors.Is(err, amqpd.ErrDetached):
			return // its lock brings it back
		case err != nil: // too large for this client
			q.settle(t, statusRejected)
		case l.wire.SndSettleMode == amqpd.SndSettled:
			q.settle(t, statusSuccess)
		}
	}
}

// encodeCommand returns a command as the device sees it: as the service sent it, with the hub's annotations.
func encodeCommand(d *device, it *item) ([]byte, error) {
	m := *it.msg
	m.Header, m.DeliveryAnnotations = nil, nil
	m.Annotations = maps.Clone(m.Annotations)
	if m.Annotations == nil {
		m.Annotations = amqp.Annotations{}
	}
	m.Annotations["x-opt-sequence-number"] = it.seq
	m.Annotations["iothub-enqueuedtime"] = it.enqueued.UTC().Truncate(time.Millisecond)
	m.Annotations["iothub-deliverycount"] = uint8(min(it.deliveries, 255))
	properties := amqp.MessageProperties{}
	if m.Properties != nil {
		properties = *m.Properties
	}
	properties.To = ptr(d.path() + "/messages/deviceBound")
	m.Properties = &properties
	if len(m.Data) == 0 && m.Value == nil && m.Sequence == nil {
		m.Data = [][]byte{{}}
	}
	return encodeMessage(&m)
}

// settleFrom applies what a client said of a delivery from a queue. With receiver settle mode second the client waits for the answer.
func settleFrom(q *queue, o *amqpd.Outgoing, state amqpd.State, settled bool) {
	t, ok := o.Value.(token)
	if !ok {
		return
	}
	var outcome string
	switch state.Kind {
	case amqpd.Accepted:
		outcome = statusSuccess
	case amqpd.Rejected:
		outcome = statusRejected
	case amqpd.Released, amqpd.Modified:
		outcome = outcomeReleased
	default:
		return // its lock brings it back
	}
	known := q.settle(t, outcome)
	switch {
	case settled:
	case known:
		o.Settle(amqpd.State{Kind: amqpd.Accepted})
	default:
		o.Settle(lockLost())
	}
}

func lockLost() amqpd.State {
	return rejected(condNotFound, "The lock of this message is lost: settle within its time, once.")
}
