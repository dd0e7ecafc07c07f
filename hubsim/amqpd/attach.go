package amqpd

import "math"

// attachFrame is amqp:attach:list (part 2, 2.7.3).
type attachFrame struct {
	name                 string
	handle               uint32
	receiver             bool // the role of who sends the frame
	snd                  SndSettleMode
	rcv                  RcvSettleMode
	source, target       *Terminus
	initialDeliveryCount optional
	maxMessageSize       uint64
	offered, desired     any
	properties           Fields
	coordinator          bool // the target is a transaction coordinator
}

func (*attachFrame) code() uint64 { return codeAttach }

func (f *attachFrame) fields() []any {
	return []any{
		f.name, f.handle, f.receiver, uint8(f.snd), uint8(f.rcv),
		f.source.value(codeSource), f.target.value(codeTarget), nil, nil,
		f.initialDeliveryCount.value(), orNil(f.maxMessageSize), nil, nil, fieldsOrNil(f.properties),
	}
}

func readAttach(r *fieldReader) *attachFrame {
	f := &attachFrame{
		name:     r.text(),
		handle:   r.uint32(0),
		receiver: r.bool(),
		snd:      SndSettleMode(r.uint8(uint8(SndMixed))),
		rcv:      RcvSettleMode(r.uint8(uint8(RcvFirst))),
	}
	f.source, _ = readTerminus(r)
	f.target, f.coordinator = readTerminus(r)
	r.next() // unsettled and incomplete-unsettled: deliveries are not resumed
	r.next()
	f.initialDeliveryCount = r.optUint32()
	f.maxMessageSize, _ = r.uint(math.MaxUint64, 0)
	f.offered = r.next()
	f.desired = r.next()
	f.properties = r.fields()
	return f
}

// value returns what appendValue takes (part 3, 3.5.3 and 3.5.4).
func (t *Terminus) value(code uint64) any {
	if t == nil {
		return nil
	}
	list := []any{
		orNil(t.Address), orNil(t.Durable), orNil(t.ExpiryPolicy), orNil(t.Timeout),
		orNil(t.Dynamic), t.DynamicNodeProperties,
	}
	if code == codeSource {
		var filter any
		if t.Filter != nil {
			filter = t.Filter
		}
		list = append(list, orNil(t.DistributionMode), filter, t.DefaultOutcome, t.Outcomes)
	}
	return &Described{code, trimmed(append(list, t.Capabilities))}
}

// readTerminus reads a source or a target; other says that it is neither.
func readTerminus(r *fieldReader) (t *Terminus, other bool) {
	code, in := r.described()
	if in == nil {
		return nil, false
	}
	if code != codeSource && code != codeTarget {
		return nil, true
	}
	t = &Terminus{
		Address:               in.text(),
		Durable:               in.uint32(0),
		ExpiryPolicy:          Symbol(in.text()),
		Timeout:               in.uint32(0),
		Dynamic:               in.bool(),
		DynamicNodeProperties: in.next(),
	}
	if code == codeSource {
		t.DistributionMode = Symbol(in.text())
		t.Filter = in.mapping()
		t.DefaultOutcome, t.Outcomes = in.next(), in.next()
	}
	t.Capabilities = in.next()
	if r.err == nil {
		r.err = in.err
	}
	return t, false
}
