package amqpd

import (
	"bufio"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// raw is a peer that speaks in single frames.
type raw struct {
	t      *testing.T
	conn   net.Conn
	frames chan received
	wait   func() error
	gate   atomic.Pointer[chan struct{}] // read waits for it
}

// received is a frame as the peer got it.
type received struct {
	typ     byte
	channel uint16
	code    uint64
	fields  []any
	payload []byte
	bytes   []byte
}

// newRaw serves a pipe and exchanges the AMQP header on it.
func newRaw(t *testing.T, cfg Config, h Handler) *raw {
	t.Helper()
	conn, wait := start(t, cfg, h)
	p := speak(t, conn, headerAMQP())
	p.wait = wait
	return p
}

// speak exchanges a protocol header and collects the frames that follow it.
func speak(t *testing.T, conn net.Conn, header []byte) *raw {
	t.Helper()
	p := &raw{t: t, conn: conn, frames: make(chan received, 4096)}
	p.write(header)
	var got [8]byte
	if _, err := io.ReadFull(conn, got[:]); err != nil || !slices.Equal(got[:], header) {
		t.Fatalf("header %q, %v", got, err)
	}
	go p.read()
	return p
}

// read collects what the server writes, until it closes.
func (p *raw) read() {
	defer close(p.frames)
	r := bufio.NewReader(p.conn)
	for {
		if gate := p.gate.Load(); gate != nil {
			<-*gate
		}
		head, err := r.Peek(frameHeader)
		if err != nil {
			return
		}
		size := int(head[2])<<8 | int(head[3])
		whole := make([]byte, size)
		if _, err := io.ReadFull(r, whole); err != nil {
			return
		}
		f := received{typ: whole[5], channel: uint16(whole[6])<<8 | uint16(whole[7]), bytes: whole}
		parsed := &frame{}
		if err := parsed.parse(whole[frameHeader:]); err != nil {
			p.t.Errorf("frame %x: %v", whole, err)
			return
		}
		f.code, f.payload = parsed.code, parsed.payload
		if parsed.perf != nil {
			f.fields = parsed.perf.list
		}
		p.frames <- f
	}
}

// hold stops the reading, after one more frame, until gate is closed.
func (p *raw) hold(gate chan struct{}) { p.gate.Store(&gate) }

func (p *raw) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// send writes a frame of a performative given as its fields.
func (p *raw) send(channel uint16, descriptor any, fields ...any) {
	p.t.Helper()
	p.sendPayload(channel, nil, descriptor, fields...)
}

func (p *raw) sendPayload(channel uint16, payload []byte, descriptor any, fields ...any) {
	p.t.Helper()
	body := appendValue(nil, &Described{descriptor, fields})
	p.write(appendFrame(nil, frameTypeAMQP, channel, nil, append(body, payload...)))
}

// next returns the next frame that is not a heartbeat.
func (p *raw) next() received {
	p.t.Helper()
	for {
		select {
		case f, ok := <-p.frames:
			if !ok {
				p.t.Fatal("connection is closed, want a frame")
			}
			if f.code != 0 {
				return f
			}
		case <-time.After(10 * time.Second):
			p.t.Fatal("no frame came")
		}
	}
}

// expect returns the next frame, which must be of a kind.
func (p *raw) expect(code uint64) received {
	p.t.Helper()
	f := p.next()
	if f.code != code {
		p.t.Fatalf("got performative 0x%x %v, want 0x%x", f.code, f.fields, code)
	}
	return f
}

// expectClosed fails the test if anything but heartbeats follows.
func (p *raw) expectClosed() {
	p.t.Helper()
	for f := range p.frames {
		if f.code != 0 {
			p.t.Fatalf("got performative 0x%x %v, want the end", f.code, f.fields)
		}
	}
}

// condition returns the condition of an error field of a frame.
func (f received) condition(field int) Symbol {
	if field >= len(f.fields) {
		return ""
	}
	d, _ := f.fields[field].(*Described)
	if d == nil {
		return ""
	}
	list, _ := d.Value.([]any)
	s, _ := list[0].(Symbol)
	return s
}

func (p *raw) open() {
	p.t.Helper()
	p.send(0, uint64(codeOpen), "raw", "host")
	p.expect(codeOpen)
}

func (p *raw) begin(channel uint16) {
	p.t.Helper()
	p.send(channel, uint64(codeBegin), nil, uint32(0), uint32(100), uint32(100))
	p.expect(codeBegin)
}

// attachSender attaches a link on which the peer sends, and takes the credit.
func (p *raw) attachSender(channel uint16, handle uint32, name string) {
	p.t.Helper()
	p.send(channel, uint64(codeAttach), name, handle, false, nil, nil,
		&Described{uint64(codeSource), []any{}}, &Described{uint64(codeTarget), []any{name}}, nil, nil, uint32(0))
	p.expect(codeAttach)
	p.expect(codeFlow)
}

// attachReceiver attaches a link on which the peer receives.
func (p *raw) attachReceiver(channel uint16, handle uint32, name string) {
	p.t.Helper()
	p.send(channel, uint64(codeAttach), name, handle, true, nil, nil,
		&Described{uint64(codeSource), []any{name}}, &Described{uint64(codeTarget), []any{}})
	p.expect(codeAttach)
}

// transfer sends one frame of a delivery whose tag is its id.
func (p *raw) transfer(handle, id uint32, payload []byte, more bool) {
	p.t.Helper()
	p.sendPayload(0, payload, uint64(codeTransfer), handle, id, []byte{byte(id)}, uint32(0), false, more)
}
