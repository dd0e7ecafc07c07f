package simi2c

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// The commands of USB/IP after the device is attached. Every packet begins with headerSize bytes, numbers in network order.
const (
	cmdSubmit = 1
	cmdUnlink = 2
	retSubmit = 3
	retUnlink = 4

	headerSize = 48
)

// port is the USB/IP side of a plugged-in adapter: it answers the kernel on conn.
type port struct {
	adapter *Adapter
	conn    io.ReadWriter

	mu sync.Mutex // for writing, and for:
	// pending are the submissions without an answer yet, by sequence number.
	pending map[uint32]*time.Timer
}

// serve answers until the kernel hangs up; then it returns nil.
func (p *port) serve() error {
	p.pending = map[uint32]*time.Timer{}
	defer p.forget()
	for {
		var h [headerSize]byte
		switch _, err := io.ReadFull(p.conn, h[:]); {
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return nil
		case err != nil:
			return fmt.Errorf("usb/ip: %w", err)
		}
		var err error
		switch command := binary.BigEndian.Uint32(h[0:]); command {
		case cmdSubmit:
			err = p.submit(h[:])
		case cmdUnlink:
			err = p.unlink(h[:])
		default:
			err = fmt.Errorf("command %d is none", command)
		}
		if err != nil {
			return fmt.Errorf("usb/ip: %w", err)
		}
	}
}

// submit takes one transfer and answers it, now or later.
func (p *port) submit(h []byte) error {
	be := binary.BigEndian
	seq, in, endpoint, length := be.Uint32(h[4:]), be.Uint32(h[12:]) == 1, be.Uint32(h[16:]), be.Uint32(h[24:])
	if length > 1<<16 {
		return fmt.Errorf("a transfer of %d bytes", length)
	}
	var data []byte
	if !in {
		data = make([]byte, length)
		if _, err := io.ReadFull(p.conn, data); err != nil {
			return err
		}
	}
	r := reply{stall: true}
	if endpoint == 0 {
		r = p.adapter.control(parseSetup(h[40:]), data)
	}
	packet := make([]byte, headerSize, headerSize+len(r.data))
	be.PutUint32(packet[0:], retSubmit)
	be.PutUint32(packet[4:], seq)
	switch {
	case r.stall:
		be.PutUint32(packet[20:], negative(syscall.EPIPE))
	case in:
		be.PutUint32(packet[24:], uint32(len(r.data)))
		packet = append(packet, r.data...)
	default:
		be.PutUint32(packet[24:], length)
	}
	return p.answer(seq, packet, &r)
}

// answer sends the packet when it is time.
func (p *port) answer(seq uint32, packet []byte, r *reply) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.after == 0 && !r.never {
		_, err := p.conn.Write(packet)
		return err
	}
	wait := r.after
	if r.never {
		wait = 1 << 62
	}
	p.pending[seq] = time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if _, ok := p.pending[seq]; ok {
			delete(p.pending, seq)
			_, _ = p.conn.Write(packet) // serve sees when the kernel has hung up
		}
	})
	return nil
}

// unlink takes a submission back, if it has not been answered.
func (p *port) unlink(h []byte) error {
	be := binary.BigEndian
	victim := be.Uint32(h[20:])
	packet := make([]byte, headerSize)
	be.PutUint32(packet[0:], retUnlink)
	be.PutUint32(packet[4:], be.Uint32(h[4:]))
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := p.pending[victim]; ok {
		t.Stop()
		delete(p.pending, victim)
		be.PutUint32(packet[20:], negative(syscall.ECONNRESET))
	}
	_, err := p.conn.Write(packet)
	return err
}

// forget drops what has not been answered.
func (p *port) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for seq, t := range p.pending {
		t.Stop()
		delete(p.pending, seq)
	}
}

// negative is an error number as USB/IP wants it.
func negative(e syscall.Errno) uint32 { return -uint32(e) }
