package bmp388

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"iotagent/sensors"
)

// calibration holds the words that each chip is given in the factory (memory map, NVM_PAR).
type calibration struct {
	t1, t2   uint16
	t3       int8
	p1, p2   int16
	p3, p4   int8
	p5, p6   uint16
	p7, p8   int8
	p9       int16
	p10, p11 int8
}

// calibrationSize is how many bytes the words take, packed, from register 0x31 on.
const calibrationSize = 21

var (
	errImplausible  = errors.New("calibration words are implausible (wiring, or a worn-out clone)")
	errNotConverted = errors.New("no conversion took place (did the chip lose its power?)")
)

// parseCalibration decodes registers 0x31..0x45.
func parseCalibration(b []byte) (calibration, error) {
	word := func(i int) uint16 { return binary.LittleEndian.Uint16(b[i:]) }
	c := calibration{
		t1: word(0), t2: word(2), t3: int8(b[4]),
		p1: int16(word(5)), p2: int16(word(7)), p3: int8(b[9]), p4: int8(b[10]),
		p5: word(11), p6: word(13), p7: int8(b[15]), p8: int8(b[16]),
		p9: int16(word(17)), p10: int8(b[19]), p11: int8(b[20]),
	}
	if allSame(b) || c.t1 == 0 || c.t2 == 0 || c.p5 == 0 {
		return calibration{}, errImplausible
	}
	return c, nil
}

// allSame reports whether every byte is 0x00 or every byte is 0xFF: a line that is stuck.
func allSame(b []byte) bool {
	for _, x := range b {
		if x != b[0] {
			return false
		}
	}
	return b[0] == 0x00 || b[0] == 0xff
}

// celsius returns the temperature (appendix, compensation in floating point).
func (c *calibration) celsius(raw uint32) float64 {
	d := float64(raw) - float64(c.t1)*(1<<8)
	return d*float64(c.t2)/(1<<30) + d*d*float64(c.t3)/(1<<48)
}

// pascals returns the pressure at a temperature in °C (appendix): a polynomial of the raw value whose coefficients are
// polynomials of the temperature.
func (c *calibration) pascals(raw uint32, t float64) float64 {
	offset := float64(c.p5)*(1<<3) +
		t*(float64(c.p6)/(1<<6)+t*(float64(c.p7)/(1<<8)+t*float64(c.p8)/(1<<15)))
	slope := (float64(c.p1)-(1<<14))/(1<<20) +
		t*((float64(c.p2)-(1<<14))/(1<<29)+t*(float64(c.p3)/(1<<32)+t*float64(c.p4)/(1<<37)))
	square := float64(c.p9)/(1<<48) + t*float64(c.p10)/(1<<48)
	cube := float64(c.p11) / (1 << 65)
	x := float64(raw)
	return offset + x*(slope+x*(square+x*cube))
}

// dataSize is how many bytes one burst of pressure and temperature has.
const dataSize = 6

// skipped is what a channel reads that was not converted since the reset.
const skipped = 0x800000

// parseRaw decodes the burst from register 0x04.
func parseRaw(b []byte) (pressure, temperature uint32, err error) {
	if allSame(b) {
		return 0, 0, fmt.Errorf("every byte of the data is 0x%02x: the bus is stuck", b[0])
	}
	pressure = uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
	temperature = uint32(b[3]) | uint32(b[4])<<8 | uint32(b[5])<<16
	if pressure == skipped || temperature == skipped {
		return 0, 0, errNotConverted
	}
	return pressure, temperature, nil
}

// decode turns one burst into samples. What lies outside the chip's range is an error; what the formulas give beyond
// its resolution is noise that would cost bytes in every message, and is rounded away.
func (c *calibration) decode(data []byte) ([]sensors.Sample, error) {
	rawPressure, rawTemperature, err := parseRaw(data)
	if err != nil {
		return nil, err
	}
	t := c.celsius(rawTemperature)
	celsius := math.Round(t*100) / 100
	if celsius < -40 || celsius > 85 {
		return nil, fmt.Errorf("temperature %.2f °C is outside the chip's range of -40..85", celsius)
	}
	pascals := math.Round(c.pascals(rawPressure, t)*10) / 10
	if pascals < 30000 || pascals > 125000 {
		return nil, fmt.Errorf("pressure %.0f Pa is outside the chip's range of 30000..125000", pascals)
	}
	return []sensors.Sample{{Name: "temperature_celsius", Value: celsius}, {Name: "pressure_pascals", Value: pascals}}, nil
}
