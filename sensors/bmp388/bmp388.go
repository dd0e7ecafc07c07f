package bmp388

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"iotagent/sensors"
)

// Registers.
const (
	regID          = 0x00
	regErr         = 0x02 // STATUS follows
	regData        = 0x04
	regEvent       = 0x10
	regPower       = 0x1b // OSR, ODR, a reserved one and CONFIG follow
	regOSR         = 0x1c
	regCalibration = 0x31
	regCommand     = 0x7e
)

// What stands in the registers, or is written to them.
const (
	idBMP388 = 0x50
	idBMP390 = 0x60

	errFatal         = 1 << 0
	errCommand       = 1 << 1
	errConfiguration = 1 << 2

	statusCommandReady = 1 << 4
	statusDataReady    = 3 << 5 // pressure and temperature

	eventPowerOn = 1 << 0

	powerForced   = 0x13 // both channels on
	powerSleep    = 0x00
	powerModeMask = 3 << 4
	osrMask       = 0x3f
	filterMask    = 7 << 1

	commandReset = 0xb6
)

const (
	resetTime = 3 * time.Millisecond // the datasheet's 2 ms and some more
	pollEvery = 2 * time.Millisecond // between two looks at the status
	polls     = 5                    // looks before the chip is given up
)

// errReported says that the chip's own error register was not 0.
var errReported = errors.New("the chip reports an error")

// device is one opened chip.
type device struct {
	bus          *sensors.I2CDev
	oversampling int  // of the pressure
	is390        bool // a BMP390, not a BMP388
	calib        calibration
	known        bool // set up, and no measurement failed since
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip that was found.
func (d *device) String() string {
	if d.is390 {
		return "bmp390@" + d.bus.String()
	}
	return "bmp388@" + d.bus.String()
}

// temperatureOversampling is what the datasheet recommends beside that of the pressure.
func (d *device) temperatureOversampling() int {
	if d.oversampling >= 16 {
		return 2
	}
	return 1
}

// osr is the register's value: 0 for ×1, 5 for ×32, three bits for each channel.
func (d *device) osr() byte {
	code := func(n int) byte { return byte(bits.TrailingZeros8(uint8(n))) }
	return code(d.temperatureOversampling())<<3 | code(d.oversampling)
}

// conversionTime is what a measurement takes typically, and 1 ms. For the temperature's share sources differ; this is the longer.
func (d *device) conversionTime() time.Duration {
	us := 234 + (392 + 2020*d.oversampling) + (313 + 2020*d.temperatureOversampling()) + 1000
	return time.Duration(us) * time.Microsecond
}

// setUp identifies the chip, resets it, reads its calibration and leaves it asleep with its settings made.
func (d *device) setUp(ctx context.Context) error {
	if err := d.identify(ctx); err != nil {
		return err
	}
	if err := d.reset(ctx); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	words := make([]byte, calibrationSize)
	if err := d.bus.Tx(ctx, []byte{regCalibration}, words); err != nil {
		return fmt.Errorf("read calibration: %w", err)
	}
	calib, err := parseCalibration(words)
	if err != nil {
		return err
	}
	if _, err := d.poweredOn(ctx); err != nil { // forgets the reset
		return err
	}
	if err := d.bus.Tx(ctx, []byte{regOSR, d.osr()}, nil); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	d.calib, d.known = calib, true
	return nil
}

// identify tells the two chips apart, and from others at the same address.
func (d *device) identify(ctx context.Context) error {
	var id [1]byte
	if err := d.bus.Tx(ctx, []byte{regID}, id[:]); err != nil {
		return fmt.Errorf("read chip id: %w", err)
	}
	if id[0] != idBMP388 && id[0] != idBMP390 {
		return fmt.Errorf("the chip id is 0x%02x, want 0x50 (BMP388) or 0x60 (BMP390); is this another chip (type bme280?), or a loose wire? %w",
			id[0], sensors.ErrAbsent)
	}
	d.is390 = id[0] == idBMP390
	return nil
}

// reset waits until the chip takes commands, and whatever errors it had are its past.
func (d *device) reset(ctx context.Context) error {
	if err := d.await(ctx, pollEvery, statusCommandReady, 0); err != nil {
		return err
	}
	if err := d.bus.Tx(ctx, []byte{regCommand, commandReset}, nil); err != nil {
		return err
	}
	return d.await(ctx, resetTime, statusCommandReady, errFatal|errCommand)
}

// await waits, then looks until the ready bits of the status are all 1 or one of the faults shows.
func (d *device) await(ctx context.Context, wait time.Duration, ready, faults byte) error {
	for range polls {
		if err := sensors.Wait(ctx, wait); err != nil {
			return fmt.Errorf("wait for the chip: %w", err)
		}
		var b [2]byte // ERR_REG, STATUS
		if err := d.bus.Tx(ctx, []byte{regErr}, b[:]); err != nil {
			return fmt.Errorf("read status: %w", err)
		}
		if b[0]&faults != 0 {
			return fmt.Errorf("%w: 0x%02x (1 fatal, 2 command, 4 configuration)", errReported, b[0])
		}
		if b[1]&ready == ready {
			return nil
		}
		wait = pollEvery
	}
	return fmt.Errorf("the chip stays busy: %w", sensors.ErrTimeout)
}

// poweredOn reports whether the chip started, or was reset, since it was last asked.
func (d *device) poweredOn(ctx context.Context) (bool, error) {
	var event [1]byte
	if err := d.bus.Tx(ctx, []byte{regEvent}, event[:]); err != nil {
		return false, fmt.Errorf("read event: %w", err)
	}
	return event[0]&eventPowerOn != 0, nil
}
