package modbus

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// variety is one register of each table and some types.
func variety() []Register {
	at := func(n int) *int { return &n }
	tenth := 0.1
	return []Register{
		{Name: "voltage_volts", Table: "input", Address: at(2301), Scale: &tenth},
		{Name: "pump_state", Table: "coil", Address: at(6)},
		{Name: "door_state", Table: "discrete", Address: at(7)},
		{Name: "fault_state", Table: "holding", Address: at(8), Type: "bit", Bit: 3},
		{Name: "energy_joules", Table: "holding", Address: at(9), Type: "uint32"},
	}
}

// onWire and onServer give a case a machine of its own for each run.
func onWire(make func() *wire) func(sensors.Config) {
	return func(cfg sensors.Config) {
		c := cfg.(*Config)
		c.Host, c.Device, c.Registers = "", "/dev/ttyUSB0", variety()
		c.ports.serial = func(address) (serialPort, error) { return make(), nil }
	}
}

func onServer(s server) func(sensors.Config) {
	return func(cfg sensors.Config) {
		c := cfg.(*Config)
		c.Host, c.Device, c.Registers = "meter.example", "", variety()
		c.ports.tcp = s.listen()
	}
}

func machine(t *testing.T) sensors.Hardware { return &sensortest.Machine{Dir: t.TempDir()} }

func fault(name string, want error, configure func(sensors.Config)) sensortest.Fault {
	return sensortest.Fault{Name: name, Hardware: machine, Want: want, Configure: configure}
}

func TestContractRTU(t *testing.T) {
	sensortest.Run(t, sensortest.Case{
		Driver:    Driver(),
		Required:  []string{"host", "registers"},
		Hardware:  machine,
		Configure: onWire(func() *wire { return answering(20 * time.Millisecond) }),
		Faults: []sensortest.Fault{
			fault("silence", sensors.ErrTimeout, onWire(func() *wire { return saying() })),
			fault("an exception", ExceptionError(2), onWire(func() *wire {
				return newWire(func(w *wire, frame []byte) { w.send(time.Millisecond, rtuFrame(1, []byte{frame[1] | 0x80, 2})) })
			})),
			fault("wrong checksum", sensors.ErrChecksum, onWire(func() *wire { return saying(bytesOf("01 01 01 00 ff ff")...) })),
			fault("a cut frame", sensors.ErrChecksum, onWire(func() *wire { return saying(bytesOf("01 01")...) })),
			fault("another unit", errMisfit, onWire(func() *wire { return saying(rtuFrame(2, bytesOf("01 01 00"))...) })),
			fault("another function", errMisfit, onWire(func() *wire { return saying(rtuFrame(1, bytesOf("03 02 00 01"))...) })),
			fault("another length", errMisfit, onWire(func() *wire { return saying(rtuFrame(1, bytesOf("01 02 00 01"))...) })),
			fault("noise without end", sensors.ErrChecksum, onWire(func() *wire { return saying(make([]byte, 5000)...) })),
			fault("only the echo", sensors.ErrTimeout, onWire(func() *wire {
				return newWire(func(w *wire, frame []byte) { w.send(0, frame) })
			})),
			fault("the adapter is pulled out", unix.EIO, onWire(func() *wire {
				return newWire(func(w *wire, _ []byte) { w.fail(time.Millisecond, unix.EIO) })
			})),
			fault("no port", sensors.ErrAbsent, func(cfg sensors.Config) {
				cfg.(*Config).ports.serial = func(a address) (serialPort, error) { return nil, explained(a.device, unix.ENOENT) }
			}),
		},
	})
}

func TestContractTCP(t *testing.T) {
	always := func(b []byte) server { return func(_, _ int, _ []byte) []byte { return b } }
	sensortest.Run(t, sensortest.Case{
		Driver:    Driver(),
		Required:  []string{"host", "registers"},
		Hardware:  machine,
		Configure: onServer(fromMemory),
		Faults: []sensortest.Fault{
			fault("silence", sensors.ErrTimeout, onServer(always([]byte{}))),
			fault("an exception", ExceptionError(4), onServer(func(_, _ int, f []byte) []byte { return tcpReply(f, []byte{f[7] | 0x80, 4}) })),
			fault("a gateway without the unit", sensors.ErrTimeout, onServer(func(_, _ int, f []byte) []byte {
				return tcpReply(f, []byte{f[7] | 0x80, 11})
			})),
			fault("it hangs up", io.EOF, onServer(always(nil))),
			fault("half a header", sensors.ErrTimeout, onServer(always(bytesOf("00 01 00")))),
			fault("half an answer", sensors.ErrTimeout, onServer(always(bytesOf("00 01 00 00 00 04 01 01")))),
			fault("another protocol", errLost, onServer(always([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")))),
			fault("no length", errLost, onServer(always(bytesOf("00 01 00 00 00 01 01")))),
			fault("a length beyond all frames", errLost, onServer(always(bytesOf("00 01 00 00 00 ff 01")))),
			fault("another unit", errMisfit, onServer(func(_, _ int, f []byte) []byte {
				f[6]++
				return tcpReply(f, memory(f[7:]))
			})),
			fault("only late answers", sensors.ErrTimeout, onServer(func(_, _ int, f []byte) []byte {
				f[1]--
				return tcpReply(f, memory(f[7:]))
			})),
			fault("another function", errMisfit, onServer(func(_, _ int, f []byte) []byte { return tcpReply(f, bytesOf("06 02 00 00")) })),
			fault("byte count without bytes", errMisfit, onServer(func(_, _ int, f []byte) []byte { return tcpReply(f, []byte{f[7], 250}) })),
			fault("refused", sensors.ErrAbsent, func(cfg sensors.Config) {
				cfg.(*Config).ports.tcp = func(context.Context, string) (net.Conn, error) { return nil, sensors.ErrAbsent }
			}),
		},
	})
}

func TestValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, tcpConfig(fromMemory, 1, variety()...), machine(t))
		got, err := valuesOf(t.Context(), s)
		if want := []float64{230.1, 1, 0, 1, 9<<16 + 10}; !slices.Equal(got, want) || err != nil {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
		if err := s.Halt(); err != nil {
			t.Error(err)
		}
		if name := s.String(); name != "modbus@meter.example:502 unit 1" {
			t.Errorf("String: %q", name)
		}
	})
}

// A reason is what a technician has: it names unit, registers and what to do.
func TestReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exception := func(_, _ int, f []byte) []byte { return tcpReply(f, []byte{f[7] | 0x80, 2}) }
		s := open(t, tcpConfig(exception, 7, holding("a_volts", 10), holding("b_volts", 11)), machine(t))
		_, err := s.Read(t.Context())
		const want = "modbus@meter.example:502 unit 7: holding 10 to 11: exception 2: illegal data address: "
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s…", err, want)
		}
		_ = s.Halt()
	})
}

// One register that is refused, or has no value, costs none of the others; a unit that is busy, or not reached, has no reading.
func TestSomeRegisters(t *testing.T) {
	refusing := func(code byte) server {
		return func(_, _ int, f []byte) []byte {
			if f[7] == readHolding && f[9] == 20 {
				return tcpReply(f, []byte{f[7] | 0x80, code})
			}
			return tcpReply(f, memory(f[7:]))
		}
	}
	none := holding("c_volts", 30)
	none.Reject = []float64{30}
	registers := []Register{holding("a_volts", 20), holding("b_volts", 25), none, holding("d_volts", 31)}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, tcpConfig(refusing(2), 7, registers...), machine(t))
		got, err := valuesOf(t.Context(), s)
		if !slices.Equal(got, []float64{25, 31}) || !errors.Is(err, sensors.ErrIncomplete) || !errors.Is(err, ExceptionError(2)) || !errors.Is(err, errNoValue) {
			t.Errorf("got %v, %v", got, err)
		}
		for _, want := range []string{"unit 7: incomplete: holding 20: exception 2", "; c_volts: the unit answers 00 1e"} {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%v lacks %q", err, want)
			}
		}
		_ = s.Halt()
	})
	for _, code := range []byte{5, 6, 10, 11} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, tcpConfig(refusing(code), 7, registers...), machine(t))
			if got, err := valuesOf(t.Context(), s); got != nil || !errors.Is(err, ExceptionError(code)) || errors.Is(err, sensors.ErrIncomplete) {
				t.Errorf("exception %d: %v, %v", code, got, err)
			}
			_ = s.Halt()
		})
	}
}

func TestExceptionsInWords(t *testing.T) {
	for e := range ExceptionError(255) {
		known := slices.Contains([]ExceptionError{1, 2, 3, 4, 5, 6, 8, 10, 11}, e)
		if text := e.Error(); strings.HasSuffix(text, ": unknown") == known {
			t.Errorf("exception %d: %s", byte(e), text)
		}
		if errors.Is(e, sensors.ErrTimeout) != (e == 11) {
			t.Errorf("exception %d: a timeout? %t", byte(e), errors.Is(e, sensors.ErrTimeout))
		}
	}
}
