package bme280

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"time"

	"iotagent/sensors"
)

// Registers (section 5.3) and what is written to them.
const (
	regCalibLow  = 0x88
	regID        = 0xd0
	regReset     = 0xe0
	regCalibHigh = 0xe1
	regCtrlHum   = 0xf2
	regStatus    = 0xf3
	regCtrlMeas  = 0xf4
	regData      = 0xf7

	resetWord       = 0xb6
	statusMeasuring = 1 << 3
	statusUpdating  = 1 << 0
	modeForced      = 1
	modeMask        = 3
)

// Chip ids.
const (
	idBMP280 = 0x58
	idBME280 = 0x60
	idBMP180 = 0x55
)

const (
	pollEvery = 2 * time.Millisecond // between two looks at the status
	polls     = 5                    // looks before the chip is given up
)

// device is one opened chip.
type device struct {
	bus          *sensors.I2CDev
	oversampling int
	humid        bool // a BME280, not a BMP280
	calib        calibration
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip that was found.
func (d *device) String() string {
	if d.humid {
		return "bme280@" + d.bus.String()
	}
	return "bmp280@" + d.bus.String() + " (no humidity)"
}

// code is the oversampling as the registers want it: 1 for ×1, 5 for ×16.
func (d *device) code() byte { return byte(bits.Len8(uint8(d.oversampling))) }

func (d *device) ctrlHum() byte {
	if d.humid {
		return d.code()
	}
	return 0
}

// ctrlMeas is the register's value in sleep mode.
func (d *device) ctrlMeas() byte { return d.code()<<5 | d.code()<<2 }

// conversionTime is the longest a measurement takes (appendix B, 9.1).
func (d *device) conversionTime() time.Duration {
	each := 2300 * d.oversampling
	us := 1250 + each + (each + 575)
	if d.humid {
		us += each + 575
	}
	return time.Duration(us) * time.Microsecond
}

// setUp identifies the chip, resets it, reads its calibration and leaves it asleep with its settings made.
func (d *device) setUp(ctx context.Context) error {
	if err := d.identify(ctx); err != nil {
		return err
	}
	if err := d.bus.Tx(ctx, []byte{regReset, resetWord}, nil); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	if err := d.await(ctx, pollEvery, statusUpdating); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	low, high := make([]byte, 26), make([]byte, 7)
	if err := d.bus.Tx(ctx, []byte{regCalibLow}, low); err != nil {
		return fmt.Errorf("read calibration: %w", err)
	}
	if !d.humid {
		high = nil
	} else if err := d.bus.Tx(ctx, []byte{regCalibHigh}, high); err != nil {
		return fmt.Errorf("read calibration: %w", err)
	}
	calib, err := parseCalibration(low, high)
	if err != nil {
		return err
	}
	d.calib = calib
	return d.command(ctx, 0)
}

// identify tells the two chips apart, and from others at the same address.
func (d *device) identify(ctx context.Context) error {
	var id [1]byte
	if err := d.bus.Tx(ctx, []byte{regID}, id[:]); err != nil {
		return fmt.Errorf("read chip id: %w", err)
	}
	switch id[0] {
	case idBME280:
		d.humid = true
	case idBMP280:
		d.humid = false
	case idBMP180:
		return fmt.Errorf("the chip id is 0x55: this is a BMP180, another chip: %w", sensors.ErrAbsent)
	default:
		return fmt.Errorf("the chip id is 0x%02x, want 0x60 (BME280) or 0x58 (BMP280); is this another chip, or a loose wire? %w",
			id[0], sensors.ErrAbsent)
	}
	return nil
}

// command writes the settings together with a mode. ctrl_hum becomes active with the write to ctrl_meas (5.4.3).
func (d *device) command(ctx context.Context, mode byte) error {
	w := []byte{regCtrlMeas, d.ctrlMeas() | mode}
	if d.humid {
		w = append([]byte{regCtrlHum, d.ctrlHum()}, w...)
	}
	if err := d.bus.Tx(ctx, w, nil); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// await waits, then looks until the busy bit of the status is 0.
func (d *device) await(ctx context.Context, wait time.Duration, busy byte) error {
	for range polls {
		if err := sensors.Wait(ctx, wait); err != nil {
			return fmt.Errorf("wait for the chip: %w", err)
		}
		var status [1]byte
		if err := d.bus.Tx(ctx, []byte{regStatus}, status[:]); err != nil {
			return fmt.Errorf("read status: %w", err)
		}
		if status[0]&busy == 0 {
			return nil
		}
		wait = pollEvery
	}
	return fmt.Errorf("the chip stays busy: %w", sensors.ErrTimeout)
}

// Read makes one measurement in forced mode.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	samples, err := d.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

func (d *device) read(ctx context.Context) ([]sensors.Sample, error) {
	if err := d.ensureSetUp(ctx); err != nil {
		return nil, err
	}
	if err := d.command(ctx, modeForced); err != nil {
		return nil, err
	}
	if err := d.await(ctx, d.conversionTime(), statusMeasuring); err != nil {
		return nil, err
	}
	data := make([]byte, 6) // pressure and temperature
	if d.humid {
		data = append(data, 0, 0)
	}
	if err := d.bus.Tx(ctx, []byte{regData}, data); err != nil {
		return nil, fmt.Errorf("read data: %w", err)
	}
	return d.decode(data)
}

// ensureSetUp reads the settings back, and sets the chip up anew when they are not what was written: it lost its power, or is another.
func (d *device) ensureSetUp(ctx context.Context) error {
	var regs [4]byte // ctrl_hum, status, ctrl_meas, config
	if err := d.bus.Tx(ctx, []byte{regCtrlHum}, regs[:]); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	// config stays at its reset value, 0; its bit 1 is reserved.
	if (!d.humid || regs[0]&7 == d.ctrlHum()) && regs[2]&^modeMask == d.ctrlMeas() && regs[3]&^2 == 0 {
		return nil
	}
	return d.setUp(ctx)
}

// decode turns one burst into samples. What lies outside the chip's range is an error: the datasheet's formulas
// would clamp it silently or give nonsense. What they give beyond the chip's resolution (0.18 Pa and 0.008 %, sections 1.2 and 1.3) is noise that would
// cost bytes in every message, and is rounded away.
func (d *device) decode(data []byte) ([]sensors.Sample, error) {
	r, err := parseRaw(data)
	if err != nil {
		return nil, err
	}
	centi, fine := d.calib.temperature(r.t)
	celsius := float64(centi) / 100
	if celsius < -40 || celsius > 85 {
		return nil, fmt.Errorf("temperature %.2f °C is outside the chip's range of -40..85", celsius)
	}
	p256, err := d.calib.pressure(r.p, fine)
	if err != nil {
		return nil, err
	}
	pascals := math.Round(float64(p256)/256*10) / 10
	if pascals < 30000 || pascals > 110000 {
		return nil, fmt.Errorf("pressure %.0f Pa is outside the chip's range of 30000..110000", pascals)
	}
	samples := []sensors.Sample{{Name: "temperature_celsius", Value: celsius}, {Name: "pressure_pascals", Value: pascals}}
	if d.humid {
		samples = append(samples, sensors.Sample{Name: "humidity_percent", Value: math.Round(float64(d.calib.humidity(r.h, fine))/1024*1000) / 1000})
	}
	return samples, nil
}

// Halt puts the chip to sleep. After a measurement in forced mode it sleeps anyway; this ends one that was broken off.
func (d *device) Halt() error {
	if err := d.bus.Write([]byte{regCtrlMeas, d.ctrlMeas()}); err != nil {
		return fmt.Errorf("%s: sleep: %w", d, err)
	}
	return nil
}
