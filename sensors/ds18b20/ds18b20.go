package ds18b20

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"iotagent/sensors"
)

// device is one sensor in the kernel's tree.
type device struct {
	id, dir string
	attr    func(path string) (string, error) // sensors.ReadAttr, but in tests
}

var _ sensors.Sensor = (*device)(nil)

// String names the sensor.
func (d *device) String() string { return "ds18b20@" + d.id }

// Halt does nothing: the chip sleeps between conversions.
func (d *device) Halt() error { return nil }

// errNoData: the kernel answered nothing, which is how it reports every failure on the line.
var errNoData = errors.New("the kernel read nothing: the sensor is unplugged or the line disturbed (wiring, cable length, resistor)")

// errPowerOn: the scratchpad holds the value of a chip that has not converted since it got its power.
var errPowerOn = errors.New("the sensor was reset during its conversion: check its supply")

// Read starts a conversion and waits for it.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	milli, err := d.try(ctx)
	if errors.Is(err, errNoData) || errors.Is(err, errPowerOn) || errors.Is(err, sensors.ErrChecksum) {
		milli, err = d.try(ctx) // these pass: a signal, or a spike on the line, broke one conversion
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return []sensors.Sample{{Name: "temperature_celsius", Value: float64(milli) / 1000}}, nil
}

// try makes one attempt, in thousandths of a degree.
func (d *device) try(ctx context.Context) (int, error) {
	if err := sensors.Expired(ctx); err != nil {
		return 0, err
	}
	text, err := d.attr(filepath.Join(d.dir, "w1_slave"))
	parse := parseScratchpads
	if errors.Is(err, fs.ErrNotExist) {
		text, err = d.attr(filepath.Join(d.dir, "temperature"))
		parse = parseTemperature
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV):
		return 0, fmt.Errorf("%w: %w", sensors.ErrAbsent, err)
	case err != nil:
		return 0, err
	case text == "":
		return 0, errNoData
	}
	return parse(text)
}

// What a chip in trouble reads as, in thousandths of a degree.
const (
	shorted    = 0
	powerOn    = 85000
	powerFault = 127937
)

// parseTemperature reads the file temperature, which does not show how it was come by.
func parseTemperature(text string) (int, error) {
	milli, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("temperature file: want a number, got %q", text)
	case milli == shorted || milli == powerOn || milli == powerFault:
		return 0, fmt.Errorf("%d m°C may be a fault, and this kernel does not show the scratchpad that would tell", milli)
	}
	return inRange(milli)
}

// parseScratchpads reads the file w1_slave: the scratchpad with the kernel's verdict, then the last good one with its temperature.
func parseScratchpads(text string) (int, error) {
	first, second, ok := strings.Cut(text, "\n")
	if !ok {
		return 0, fmt.Errorf("w1_slave: want two lines, got %q", text)
	}
	pad, verdict, err := parsePad(first)
	if err != nil {
		return 0, err
	}
	if !strings.HasSuffix(verdict, " YES") {
		return 0, fmt.Errorf("the kernel says %q: %w", verdict, sensors.ErrChecksum)
	}
	if crc8(pad[:8]) != pad[8] {
		return 0, fmt.Errorf("scratchpad % x: %w", pad, sensors.ErrChecksum)
	}
	last, t, err := parsePad(second)
	if err != nil {
		return 0, err
	}
	milli, err := decode(pad)
	if err != nil {
		return 0, err
	}
	said, err := strconv.Atoi(strings.TrimPrefix(t, "t="))
	if err != nil || last != pad || !agree(said, milli, pad) {
		return 0, fmt.Errorf("w1_slave contradicts itself: the scratchpad says %d m°C, the kernel %q: %w", milli, t, sensors.ErrChecksum)
	}
	return inRange(milli)
}

// scratchpad is the chip's memory with its checksum (datasheet, figure 9).
type scratchpad [9]byte

// parsePad splits a line of w1_slave into its nine bytes and the rest.
func parsePad(line string) (pad scratchpad, rest string, err error) {
	fields := strings.Fields(line)
	if len(fields) < len(pad)+1 {
		return pad, "", fmt.Errorf("w1_slave: want nine bytes and more, got %q", line)
	}
	for i := range pad {
		b, err := strconv.ParseUint(fields[i], 16, 8)
		if err != nil {
			return pad, "", fmt.Errorf("w1_slave: want nine bytes and more, got %q", line)
		}
		pad[i] = byte(b)
	}
	return pad, strings.Join(fields[len(pad):], " "), nil
}

// decode returns the temperature of a scratchpad whose checksum is right.
func decode(pad scratchpad) (int, error) {
	raw := int16(uint16(pad[1])<<8 | uint16(pad[0]))
	unconverted := pad[6] == 0x0c // a conversion leaves 16 less the fraction here, which is 0x10 for these values
	switch {
	case pad == scratchpad{}:
		return 0, errors.New("every byte is 0: the data line is shorted to ground")
	case unconverted && raw == 0x0550:
		return 0, errPowerOn
	case unconverted && raw == 0x07ff:
		return 0, errors.New("the sensor reports a power fault: check its supply")
	}
	return int(raw&^undefined(pad)) * 1000 / 16, nil
}

// undefined returns the low bits that have no meaning at the chip's resolution (byte 4, bits 6 and 5).
func undefined(pad scratchpad) int16 { return int16(7) >> (pad[4] >> 5 & 3) }

// agree reports whether the kernel's number is that of the scratchpad. Some kernels leave the undefined bits in.
func agree(said, milli int, pad scratchpad) bool {
	raw := int16(uint16(pad[1])<<8 | uint16(pad[0]))
	return said == milli || said == int(raw)*1000/16
}

func inRange(milli int) (int, error) {
	if milli < -55000 || milli > 125000 {
		return 0, fmt.Errorf("%d m°C is outside the chip's range of -55..125 °C", milli)
	}
	return milli, nil
}

// crc8 is the checksum of 1-Wire: x⁸+x⁵+x⁴+1, lowest bit first, from 0.
func crc8(b []byte) (crc byte) {
	for _, x := range b {
		crc ^= x
		for range 8 {
			low := crc & 1
			crc >>= 1
			if low != 0 {
				crc ^= 0x8c
			}
		}
	}
	return crc
}
