package bmp388

import (
	"context"
	"fmt"

	"iotagent/sensors"
)

// Read makes one measurement in forced mode.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	samples, err := d.read(ctx)
	if err != nil {
		d.known = false // whatever was left behind: data nobody fetched would pass for the next measurement's
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

func (d *device) read(ctx context.Context) ([]sensors.Sample, error) {
	if err := d.ensureSetUp(ctx); err != nil {
		return nil, err
	}
	if err := d.bus.Tx(ctx, []byte{regPower, powerForced}, nil); err != nil {
		return nil, fmt.Errorf("start measurement: %w", err)
	}
	if err := d.await(ctx, d.conversionTime(), statusDataReady, errFatal|errCommand|errConfiguration); err != nil {
		return nil, err
	}
	data := make([]byte, dataSize)
	if err := d.bus.Tx(ctx, []byte{regData}, data); err != nil {
		return nil, fmt.Errorf("read data: %w", err)
	}
	return d.calib.decode(data)
}

// ensureSetUp sets the chip up anew when it lost its power, its settings are not what was written or the last measurement failed.
func (d *device) ensureSetUp(ctx context.Context) error {
	if !d.known {
		return d.setUp(ctx)
	}
	on, err := d.poweredOn(ctx)
	if err != nil {
		return err
	}
	var regs [5]byte // PWR_CTRL, OSR, ODR, reserved, CONFIG
	if err := d.bus.Tx(ctx, []byte{regPower}, regs[:]); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	// The filter stays off, as it is after a reset; the data rate means nothing in forced mode.
	if on || regs[0]&powerModeMask != 0 || regs[1]&osrMask != d.osr() || regs[4]&filterMask != 0 {
		return d.setUp(ctx)
	}
	return nil
}

// Halt puts the chip to sleep. After a measurement in forced mode it sleeps anyway; this ends one that was broken off.
func (d *device) Halt() error {
	if err := d.bus.Write([]byte{regPower, powerSleep}); err != nil {
		return fmt.Errorf("%s: sleep: %w", d, err)
	}
	return nil
}
