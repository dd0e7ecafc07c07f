package simi2c

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"iotagent/sensors"
	"iotagent/sensors/bme280"
)

// wire is a bus for drivers of ours, on the same way through the adapter as the kernel's.
type wire struct{ a *Adapter }

func (w wire) String() string                  { return "wire" }
func (w wire) Close() error                    { return nil }
func (w wire) SetSpeed(physic.Frequency) error { return nil }

func (w wire) Tx(addr uint16, out, in []byte) error {
	if len(out) > 0 {
		w.a.control(setup{requestType: 0x41, request: cmdIO | 1, index: addr, length: uint16(len(out))}, out)
		if w.status() != statusAck {
			return unix.ENXIO
		}
	}
	if len(in) > 0 {
		r := w.a.control(setup{requestType: 0xc1, request: cmdIO | 2, value: flagRead, index: addr, length: uint16(len(in))}, nil)
		if w.status() != statusAck {
			return unix.ENXIO
		}
		copy(in, r.data)
	}
	return nil
}

func (w wire) status() byte {
	return w.a.control(setup{requestType: 0xc1, request: cmdStatus, length: 1}, nil).data[0]
}

func readBMP280(t *testing.T, a *Adapter) ([]sensors.Sample, error) {
	t.Helper()
	hw := sensors.NewHardware(t.TempDir(), &sensors.HardwareOptions{OpenI2C: func(int) (i2c.BusCloser, error) { return wire{a}, nil }})
	t.Cleanup(func() {
		if err := hw.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := (&bme280.Config{Bus: "1", Address: 0x76, Oversampling: 1}).Open(t.Context(), hw)
	if err != nil {
		return nil, err
	}
	return s.Read(t.Context())
}

func TestBMP280(t *testing.T) {
	a, chip := &Adapter{}, NewBMP280()
	a.Put(0x76, chip)
	want := []sensors.Sample{{Name: "temperature_celsius", Value: 25.08}, {Name: "pressure_pascals", Value: 100653.3}}
	got, err := readBMP280(t, a)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}

	a.Do(func() { chip.ID = 0x42 })
	if _, err := readBMP280(t, a); err == nil || !strings.Contains(err.Error(), "0x42") {
		t.Errorf("another chip: %v", err)
	}
	a.Nak(0x76, true)
	if _, err := readBMP280(t, a); !errors.Is(err, sensors.ErrAbsent) {
		t.Errorf("no acknowledge: %v", err)
	}
	a.Nak(0x76, false)
	a.Do(func() { chip.ID = 0x58 })
	if _, err := readBMP280(t, a); err != nil {
		t.Error(err)
	}
}

// bridge talks to a DS2482 as a driver does.
type bridge struct {
	t *testing.T
	c *DS2482
}

func (b bridge) do(command ...byte) (answer byte) {
	b.t.Helper()
	var r [1]byte
	if !b.c.Write(command) || !b.c.Read(r[:]) {
		b.t.Fatalf("not acknowledged: % x", command)
	}
	return r[0]
}

func (b bridge) send(bytes ...byte) {
	for _, x := range bytes {
		b.do(cmdWriteByte, x)
	}
}

func (b bridge) receive(n int) []byte {
	got := make([]byte, n)
	for i := range got {
		b.do(cmdReadByte)
		got[i] = b.do(cmdSetPointer, regData)
	}
	return got
}

// search finds one chip: at a branch it takes the side that turns says, one bit for each branch.
func (b bridge) search(turns uint) (rom [8]byte) {
	b.do(cmdWireReset)
	b.send(romSearch)
	for n := range 64 {
		status := b.do(cmdTriplet, byte(turns&1)<<7)
		if status&(bitSingle|bitTriplet) == 0 {
			turns >>= 1
		}
		if status&bitDirection != 0 {
			rom[n/8] |= 1 << (n % 8)
		}
	}
	return rom
}

func TestSearch(t *testing.T) {
	one, other := NewDS18B20([6]byte{1, 2, 3}), NewDS18B20([6]byte{1, 2, 7})
	b := bridge{t, NewDS2482(one, other)}
	if status := b.do(cmdWireReset); status&bitPresence == 0 {
		t.Errorf("nobody is present: %02x", status)
	}
	if got := b.search(0); got != one.rom {
		t.Errorf("one is % x, want % x", got, one.rom)
	}
	if got := b.search(1); got != other.rom {
		t.Errorf("the other is % x, want % x", got, other.rom)
	}

	empty := bridge{t, NewDS2482()}
	if status := empty.do(cmdWireReset); status&bitPresence != 0 {
		t.Errorf("somebody is present on an empty line: %02x", status)
	}
	if got := empty.search(0); got != [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} {
		t.Errorf("an empty line has % x", got)
	}
}

// The scratchpads are those of the datasheet's table 1 with checksums.
func TestDS18B20(t *testing.T) {
	one, other := NewDS18B20([6]byte{1}), NewDS18B20([6]byte{2})
	b := bridge{t, NewDS2482(one, other)}
	address := append([]byte{romMatch}, one.rom[:]...)
	for _, row := range []struct {
		raw int16
		pad string
	}{
		{0x0191, "91014b467fff0f1025"}, {0x00a2, "a2004b467fff0e10e5"}, {-162, "5eff4b467fff0210b6"}, {-8, "f8ff4b467fff0810f8"},
	} {
		one.Raw = row.raw
		b.do(cmdWireReset)
		b.send(append(address, funcConvert)...)
		if b.do(cmdWireBit, 0x80)&bitSingle == 0 {
			t.Error("the conversion does not end")
		}
		b.do(cmdWireReset)
		b.send(append(address, funcRead)...)
		if got := hex.EncodeToString(b.receive(9)); got != row.pad {
			t.Errorf("%d: %s, want %s", row.raw, got, row.pad)
		}
	}
	one.BadCRC = true
	b.do(cmdWireReset)
	b.send(append(address, funcRead)...)
	if pad := b.receive(9); crc8(pad[:8]) == pad[8] {
		t.Errorf("% x has a right checksum", pad)
	}
	b.do(cmdWireReset)
	b.send(append([]byte{romMatch}, other.rom[:]...)...)
	b.send(funcRead)
	if got := hex.EncodeToString(b.receive(9)); got != "50054b467fff0c101c" {
		t.Errorf("a chip that never converted: %s", got)
	}
}

func TestROMChecksum(t *testing.T) {
	if got := crc8([]byte{0x02, 0x1c, 0xb8, 0x01, 0, 0, 0}); got != 0xa2 {
		t.Errorf("application note 27: 0x%02x, want 0xa2", got)
	}
}

func TestPorts(t *testing.T) {
	one := func(c Chip) string {
		var b [1]byte
		c.Read(b[:])
		return fmt.Sprintf("%02x", b)
	}
	p := NewPCF8574()
	if got := one(p); got != "ff" {
		t.Errorf("PCF8574 after power-on: %s", got)
	}
	p.Outside = 0xfe
	p.Write([]byte{0x7f})
	if got := one(p); got != "7e" {
		t.Errorf("PCF8574: line 0 pulled low outside, line 7 by the latch: %s", got)
	}

	q := NewPCA9534()
	q.Write([]byte{3, 0x0f})
	q.Write([]byte{1, 0x50})
	q.Write([]byte{2, 0x80})
	q.Write([]byte{0})
	q.Outside = 0xa5
	if got := one(q); got != "d5" {
		t.Errorf("PCA9534: lower half inputs, line 7 inverted: %s", got)
	}
}

func TestEEPROM(t *testing.T) {
	var c EEPROM
	c.Write([]byte{0xfe})
	got := make([]byte, 3)
	c.Read(got)
	if want := []byte{Byte(0xfe), Byte(0xff), Byte(0)}; cmp.Diff(want, got) != "" {
		t.Errorf("% x, want % x", got, want)
	}
	seen := map[byte]bool{}
	for a := range 256 {
		if v := Byte(byte(a)); v == byte(a) || seen[v] {
			t.Errorf("byte %d is 0x%02x", a, v)
		} else {
			seen[v] = true
		}
	}
}
