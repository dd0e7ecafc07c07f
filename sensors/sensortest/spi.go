package sensortest

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/conntest"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"iotagent/sensors"
)

// PlaybackSPI returns a machine whose SPI port plays ops to a driver that connects in that mode, and then takes every write that reads nothing.
func PlaybackSPI(t *testing.T, mode spi.Mode, ops []conntest.IO) *Machine {
	t.Helper()
	return &Machine{Dir: t.TempDir(), Port: newPort(mode, ops)}
}

// port plays a conversation, and fails in it as a real port would. It is its own connection.
type port struct {
	conntest.Playback
	mode   spi.Mode
	refuse error // of Connect
	failAt int   // the transaction that fails, and all after it; -1 for none
	once   bool  // those after it succeed, as if it had
	fail   error
	opened bool
}

var (
	_ spi.Port = (*port)(nil)
	_ spi.Conn = (*port)(nil)
)

func newPort(mode spi.Mode, ops []conntest.IO) *port {
	return &port{Playback: conntest.Playback{Ops: ops, D: conn.Full, DontPanic: true}, mode: mode, failAt: -1}
}

func (p *port) String() string { return "playback" }

// Connect refuses what would not work with the chip: another mode than the recorded one, a speed without a limit, words that are no bytes.
func (p *port) Connect(f physic.Frequency, mode spi.Mode, bits int) (spi.Conn, error) {
	switch {
	case p.refuse != nil:
		return nil, p.refuse
	case p.opened:
		return nil, fmt.Errorf("connected twice")
	case mode != p.mode || bits != 8:
		return nil, fmt.Errorf("connected in %s with %d bits, the recorded conversation is in %s with 8", mode, bits, p.mode)
	case f <= 0:
		return nil, fmt.Errorf("connected without a limit of the clock")
	}
	p.opened = true
	return p, nil
}

func (p *port) Tx(w, r []byte) error {
	if p.failAt >= 0 && p.Count >= p.failAt {
		if p.Count < len(p.Ops) {
			copy(r[:len(r)/2], p.Ops[p.Count].R)
		}
		if p.once {
			p.Count++
			p.failAt = -1
		}
		return p.fail
	}
	if p.Count == len(p.Ops) && len(r) == 0 {
		return nil // what Halt writes is the driver's business
	}
	return p.Playback.Tx(w, r)
}

func (p *port) TxPackets([]spi.Packet) error { return errBusBroken }

// spiFaults breaks the recorded conversation: an error at each step, a port that cannot be opened, a data line stuck low or high.
func (c *Case) spiFaults() []Fault {
	if len(c.SPIOps) == 0 {
		return nil
	}
	faults := []Fault{
		c.failingSPI("port that cannot be opened", func(p *port) { p.refuse = sensors.ErrAbsent }, sensors.ErrAbsent),
		{Name: "no port", Want: sensors.ErrAbsent, Hardware: func(t *testing.T) sensors.Hardware { return &Machine{Dir: t.TempDir()} }},
	}
	for i := range c.SPIOps {
		faults = append(faults,
			c.failingSPI(fmt.Sprintf("error from transaction %d on", i), func(p *port) { p.failAt, p.fail = i, unix.EIO }, unix.EIO),
			c.failingSPI(fmt.Sprintf("error at transaction %d only", i), func(p *port) { p.failAt, p.fail, p.once = i, unix.EIO, true }, nil),
			c.failingSPI(fmt.Sprintf("timeout from transaction %d on", i), func(p *port) { p.failAt, p.fail = i, unix.ETIMEDOUT }, sensors.ErrTimeout),
		)
	}
	for _, stuck := range []byte{0x00, 0xff} {
		if stuck == 0 && c.ZeroIsValue {
			continue
		}
		faults = append(faults, Fault{
			Name:     fmt.Sprintf("data line stuck at 0x%02x", stuck),
			Hardware: func(t *testing.T) sensors.Hardware { return &Machine{Dir: t.TempDir(), Port: stuckPort(stuck)} },
		})
	}
	return faults
}

// failingSPI is the recorded conversation on a port that is broken by breakIt.
func (c *Case) failingSPI(name string, breakIt func(*port), want error) Fault {
	return Fault{Name: name, Want: want, Hardware: func(t *testing.T) sensors.Hardware {
		p := newPort(c.SPIMode, c.SPIOps)
		breakIt(p)
		return &Machine{Dir: t.TempDir(), Port: p}
	}}
}

// stuckPort reads the same bit for ever, as a port does with no chip on it.
type stuckPort byte

func (p stuckPort) String() string                                            { return "stuck" }
func (p stuckPort) Connect(physic.Frequency, spi.Mode, int) (spi.Conn, error) { return p, nil }
func (p stuckPort) Duplex() conn.Duplex                                       { return conn.Full }
func (p stuckPort) TxPackets([]spi.Packet) error                              { return errBusBroken }

func (p stuckPort) Tx(_, r []byte) error {
	for i := range r {
		r[i] = byte(p)
	}
	return nil
}
