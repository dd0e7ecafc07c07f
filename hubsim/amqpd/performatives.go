package amqpd

import (
	"fmt"
	"math"
)

// performative is the body of a frame that we write: its descriptor and its fields.
type performative interface {
	code() uint64
	fields() []any
}

// appendPerformative appends a described list without its trailing nulls.
func appendPerformative(b []byte, p performative) []byte {
	b = append(b, fmtDescribed)
	b = appendUlong(b, p.code())
	return appendList(b, trimmed(p.fields()))
}

// described makes a value of a performative, to stand in a field of another.
func described(p performative) *Described {
	return &Described{Descriptor: p.code(), Value: trimmed(p.fields())}
}

func trimmed(list []any) []any {
	for len(list) > 0 && list[len(list)-1] == nil {
		list = list[:len(list)-1]
	}
	return list
}

// orNil returns nil for the zero value, so that the field is left out.
func orNil[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// fieldsOrNil leaves an empty map out.
func fieldsOrNil(f Fields) any {
	if len(f) == 0 {
		return nil
	}
	return f
}

// openFrame is amqp:open:list (part 2, 2.7.1).
type openFrame struct {
	containerID  string
	hostname     string
	maxFrameSize uint32
	channelMax   uint16
	idleTimeout  uint32 // milliseconds; 0: none
	properties   Fields
}

func (*openFrame) code() uint64 { return codeOpen }

func (o *openFrame) fields() []any {
	return []any{
		o.containerID, orNil(o.hostname), o.maxFrameSize, o.channelMax, orNil(o.idleTimeout),
		nil, nil, nil, nil, fieldsOrNil(o.properties),
	}
}

func readOpen(r *fieldReader) *openFrame {
	o := &openFrame{
		containerID:  r.text(),
		hostname:     r.text(),
		maxFrameSize: r.uint32(math.MaxUint32),
		channelMax:   r.uint16(math.MaxUint16),
		idleTimeout:  r.uint32(0),
	}
	for range 4 { // locales and capabilities
		r.next()
	}
	o.properties = r.fields()
	return o
}

// beginFrame is amqp:begin:list (part 2, 2.7.2).
type beginFrame struct {
	remoteChannel  optional
	nextOutgoingID uint32
	incomingWindow uint32
	outgoingWindow uint32
	handleMax      uint32
}

func (*beginFrame) code() uint64 { return codeBegin }

func (f *beginFrame) fields() []any {
	var remote any
	if f.remoteChannel.given {
		remote = uint16(f.remoteChannel.n)
	}
	return []any{remote, f.nextOutgoingID, f.incomingWindow, f.outgoingWindow, f.handleMax}
}

func readBegin(r *fieldReader) *beginFrame {
	f := &beginFrame{remoteChannel: r.optUint32()}
	f.nextOutgoingID = r.uint32(0)
	f.incomingWindow = r.uint32(0)
	f.outgoingWindow = r.uint32(0)
	f.handleMax = r.uint32(math.MaxUint32)
	return f
}

// flowFrame is amqp:flow:list (part 2, 2.7.4).
type flowFrame struct {
	nextIncomingID optional
	incomingWindow uint32
	nextOutgoingID uint32
	outgoingWindow uint32
	handle         optional
	deliveryCount  optional
	linkCredit     optional
	available      optional
	drain          bool
	echo           bool
}

func (*flowFrame) code() uint64 { return codeFlow }

func (f *flowFrame) fields() []any {
	return []any{
		f.nextIncomingID.value(), f.incomingWindow, f.nextOutgoingID, f.outgoingWindow,
		f.handle.value(), f.deliveryCount.value(), f.linkCredit.value(), f.available.value(),
		orNil(f.drain), orNil(f.echo),
	}
}

func readFlow(r *fieldReader) *flowFrame {
	return &flowFrame{
		nextIncomingID: r.optUint32(),
		incomingWindow: r.uint32(0),
		nextOutgoingID: r.uint32(0),
		outgoingWindow: r.uint32(0),
		handle:         r.optUint32(),
		deliveryCount:  r.optUint32(),
		linkCredit:     r.optUint32(),
		available:      r.optUint32(),
		drain:          r.bool(),
		echo:           r.bool(),
	}
}

// detachFrame is amqp:detach:list (part 2, 2.7.7).
type detachFrame struct {
	handle uint32
	closed bool
	err    *Error
}

func (*detachFrame) code() uint64 { return codeDetach }

func (f *detachFrame) fields() []any {
	return []any{f.handle, orNil(f.closed), errorValue(f.err)}
}

func readDetach(r *fieldReader) *detachFrame {
	return &detachFrame{handle: r.uint32(0), closed: r.bool(), err: readError(r)}
}

// endFrame and closeFrame carry an error only (part 2, 2.7.8 and 2.7.9).
type endFrame struct{ err *Error }

func (*endFrame) code() uint64    { return codeEnd }
func (f *endFrame) fields() []any { return []any{errorValue(f.err)} }

type closeFrame struct{ err *Error }

func (*closeFrame) code() uint64    { return codeClose }
func (f *closeFrame) fields() []any { return []any{errorValue(f.err)} }

// code and fields write amqp:error:list (part 2, 2.8.14).
func (*Error) code() uint64 { return codeError }

func (e *Error) fields() []any {
	return []any{e.Condition, e.Description, fieldsOrNil(e.Info)}
}

// errorValue returns what appendValue takes.
func errorValue(e *Error) any {
	if e == nil {
		return nil
	}
	return described(e)
}

// readError reads an error field; nil for null.
func readError(r *fieldReader) *Error {
	code, in := r.described()
	if in == nil {
		return nil
	}
	if code != codeError && r.err == nil {
		r.err = fmt.Errorf("descriptor 0x%x where an error is expected", code)
	}
	e := &Error{Condition: Symbol(in.text()), Description: in.text(), Info: in.fields()}
	if r.err == nil {
		r.err = in.err
	}
	return e
}
