package modbus

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"iotagent/internal/quantity"
	"iotagent/sensors"
)

// bytesOf reads hexadecimal digits with blanks between them.
func bytesOf(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// memory answers requests as a unit whose holding and input register n holds n, and whose bit n is set when n is a multiple of 3.
func memory(pdu []byte) []byte {
	first, n := int(binary.BigEndian.Uint16(pdu[1:])), int(binary.BigEndian.Uint16(pdu[3:]))
	var data []byte
	switch pdu[0] {
	case readCoils, readDiscrete:
		data = make([]byte, (n+7)/8)
		for i := range n {
			if (first+i)%3 == 0 {
				data[i/8] |= 1 << (i % 8)
			}
		}
	case readHolding, readInput:
		for i := range n {
			data = binary.BigEndian.AppendUint16(data, uint16(first+i))
		}
	}
	return append([]byte{pdu[0], byte(len(data))}, data...)
}

// wire is a serial port with units behind it, in virtual time.
type wire struct {
	// unit is called with each frame that is sent, and answers with send.
	unit func(w *wire, frame []byte)

	mu       sync.Mutex
	in       []byte
	broken   error
	deadline time.Time
	wake     chan struct{}
	sent     []time.Time
	frames   [][]byte
}

func newWire(unit func(w *wire, frame []byte)) *wire {
	return &wire{unit: unit, wake: make(chan struct{}, 1)}
}

// send has bytes arrive after that time.
func (w *wire) send(after time.Duration, b []byte) {
	time.AfterFunc(after, func() { w.arrive(b, nil) })
}

// fail breaks the port after that time.
func (w *wire) fail(after time.Duration, err error) {
	time.AfterFunc(after, func() { w.arrive(nil, err) })
}

func (w *wire) arrive(b []byte, err error) {
	w.mu.Lock()
	w.in = append(w.in, b...)
	if err != nil {
		w.broken = err
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *wire) SetDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

func (w *wire) ResetInputBuffer() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.in = nil
	return w.broken
}

func (w *wire) Close() error {
	w.arrive(nil, os.ErrClosed)
	return nil
}

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	w.sent = append(w.sent, time.Now())
	w.frames = append(w.frames, append([]byte(nil), b...))
	err := w.broken
	w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	w.unit(w, append([]byte(nil), b...))
	return len(b), nil
}

func (w *wire) Read(b []byte) (int, error) {
	t := time.NewTimer(time.Until(w.deadline))
	defer t.Stop()
	for {
		w.mu.Lock()
		n, err := copy(b, w.in), w.broken
		w.in = w.in[n:]
		w.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case err != nil:
			return 0, err
		}
		select {
		case <-w.wake:
		case <-t.C:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// answering returns a wire whose units all answer from memory after that time.
func answering(after time.Duration) *wire {
	return newWire(func(w *wire, frame []byte) { w.send(after, rtuFrame(frame[0], memory(frame[1:6]))) })
}

// saying returns a wire that answers every request with these bytes.
func saying(b ...byte) *wire {
	return newWire(func(w *wire, _ []byte) { w.send(20*time.Millisecond, b) })
}

// server answers the requests of one TCP connection after another: it gets the number of the connection and of the request in it, from
// 0, and returns what to send; nil hangs up.
type server func(conn, n int, frame []byte) []byte

// listen returns connections to the server, through pipes.
func (s server) listen() func(ctx context.Context, host string) (net.Conn, error) {
	conns := 0
	return func(context.Context, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go s.serve(conns, theirs)
		conns++
		return ours, nil
	}
}

func (s server) serve(conn int, c net.Conn) {
	defer func() { _ = c.Close() }()
	for n := 0; ; n++ {
		frame := make([]byte, 12)
		if _, err := io.ReadFull(c, frame); err != nil {
			return
		}
		b := s(conn, n, frame)
		if b == nil {
			return
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// tcpReply puts a PDU into the frame that answers a request's.
func tcpReply(frame, pdu []byte) []byte {
	return tcpFrame(binary.BigEndian.Uint16(frame), frame[6], pdu)
}

func fromMemory(_, _ int, frame []byte) []byte { return tcpReply(frame, memory(frame[7:])) }

// unitWith returns the configuration of a unit with these registers.
func unitWith(registers ...Register) *Config {
	c := Driver().New().(*Config)
	c.Registers = registers
	return c
}

// serialConfig is a unit of a wire; every opening of the port gives the same.
func serialConfig(w *wire, unit int, registers ...Register) *Config {
	c := unitWith(registers...)
	c.Device, c.Unit, c.Baud = "/dev/ttyUSB0", unit, 9600
	c.ports.serial = func(address) (serialPort, error) { return w, nil }
	return c
}

func tcpConfig(s server, unit int, registers ...Register) *Config {
	c := unitWith(registers...)
	c.Host, c.Unit = "meter.example", unit
	c.ports.tcp = s.listen()
	return c
}

// holding is a register of that table, named by its address.
func holding(name string, at int) Register {
	return Register{Name: name, Table: "holding", Address: &at}
}

func millis(n int) quantity.Duration {
	return quantity.Duration{Duration: time.Duration(n) * time.Millisecond}
}

// open opens the sensor of a configuration, which is halted at the end of the test.
func open(t *testing.T, c *Config, hw sensors.Hardware) sensors.Sensor {
	t.Helper()
	c.Validate(func(key, msg string) { t.Errorf("%s: %s", key, msg) })
	s, err := c.Open(t.Context(), hw)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// valuesOf reads a sensor and returns what its samples say.
func valuesOf(ctx context.Context, s sensors.Sensor) ([]float64, error) {
	samples, err := s.Read(ctx)
	if err != nil && samples != nil && !errors.Is(err, sensors.ErrIncomplete) {
		err = errors.Join(err, errors.New("and samples beside it"))
	}
	var vs []float64
	for _, x := range samples {
		vs = append(vs, x.Value)
	}
	return vs, err
}
