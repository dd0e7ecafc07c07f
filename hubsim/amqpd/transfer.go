package amqpd

// transferFrame is amqp:transfer:list (part 2, 2.7.5).
type transferFrame struct {
	handle        uint32
	deliveryID    optional
	tag           []byte
	format        optional
	settled       bool
	more          bool
	rcvSettleMode optional
	aborted       bool
}

func (*transferFrame) code() uint64 { return codeTransfer }

func (f *transferFrame) fields() []any {
	var tag any
	if f.tag != nil {
		tag = f.tag
	}
	return []any{
		f.handle, f.deliveryID.value(), tag, f.format.value(), orNil(f.settled), orNil(f.more),
		nil, nil, nil, orNil(f.aborted),
	}
}

func readTransfer(r *fieldReader) *transferFrame {
	f := &transferFrame{
		handle:     r.uint32(0),
		deliveryID: r.optUint32(),
		tag:        r.binary(),
		format:     r.optUint32(),
		settled:    r.bool(),
		more:       r.bool(),
	}
	f.rcvSettleMode = r.optUint32()
	r.next() // state, of use only to a resumed delivery
	r.next() // resume
	f.aborted = r.bool()
	return f
}

// dispositionFrame is amqp:disposition:list (part 2, 2.7.6).
type dispositionFrame struct {
	receiver bool // the role of who sends the frame
	first    uint32
	last     optional
	settled  bool
	state    State
}

func (*dispositionFrame) code() uint64 { return codeDisposition }

func (f *dispositionFrame) fields() []any {
	return []any{f.receiver, f.first, f.last.value(), orNil(f.settled), stateValue(f.state)}
}

func readDisposition(r *fieldReader) *dispositionFrame {
	return &dispositionFrame{
		receiver: r.bool(),
		first:    r.uint32(0),
		last:     r.optUint32(),
		settled:  r.bool(),
		state:    readState(r),
	}
}

// stateValue returns what appendValue takes.
func stateValue(s State) any {
	switch s.Kind {
	case Accepted:
		return &Described{uint64(codeAccepted), []any{}}
	case Released:
		return &Described{uint64(codeReleased), []any{}}
	case Rejected:
		return &Described{uint64(codeRejected), trimmed([]any{errorValue(s.Error)})}
	case Modified:
		var annotations any
		if len(s.Annotations) > 0 {
			annotations = s.Annotations
		}
		return &Described{uint64(codeModified), trimmed([]any{orNil(s.DeliveryFailed), orNil(s.UndeliverableHere), annotations})}
	case Received:
		return &Described{uint64(codeReceived), []any{uint32(0), uint64(0)}}
	}
	return nil
}

// readState reads a delivery state field.
func readState(r *fieldReader) State {
	var s State
	code, in := r.described()
	if in == nil {
		return s
	}
	switch code {
	case codeAccepted:
		s.Kind = Accepted
	case codeReleased:
		s.Kind = Released
	case codeReceived:
		s.Kind = Received
	case codeRejected:
		s.Kind = Rejected
		s.Error = readError(in)
	case codeModified:
		s.Kind = Modified
		s.DeliveryFailed, s.UndeliverableHere, s.Annotations = in.bool(), in.bool(), in.mapping()
	}
	if r.err == nil {
		r.err = in.err
	}
	return s
}
