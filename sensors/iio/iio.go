package iio

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/sensors"
)

const (
	retryEvery = 50 * time.Millisecond // between two reads of a value that is not ready
	tries      = 20                    // reads before the device is given up
	digits     = 9                     // of a value; what follows is noise of the arithmetic
)

// device is one device in the kernel's tree.
type device struct {
	place
	channels []*channel
	attr     func(path string) (string, error) // sensors.ReadAttr, but in tests
}

var _ sensors.Sensor = (*device)(nil)

// String names the device.
func (d *device) String() string { return "iio@" + d.chip + ":" + d.device }

// Halt does nothing: the kernel owns the chip.
func (d *device) Halt() error { return nil }

// Read reads every channel.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	samples, err := d.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

func (d *device) read(ctx context.Context) ([]sensors.Sample, error) {
	if err := d.identify(ctx); err != nil {
		return nil, err
	}
	var samples []sensors.Sample
	for _, c := range d.channels {
		v, err := d.value(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.key, err)
		}
		samples = append(samples, sensors.Sample{Name: c.sample, Value: v})
	}
	return samples, nil
}

// identify makes sure that the folder is still this device's: another may have been given its number.
func (d *device) identify(ctx context.Context) error {
	if err := sensors.Expired(ctx); err != nil {
		return err
	}
	now, err := look(d.dir)
	if err != nil {
		return fmt.Errorf("the kernel has let it go: %w", classify(err))
	}
	if now != d.place {
		return fmt.Errorf("%s is now %s: %w", filepath.Base(d.dir), now, sensors.ErrAbsent)
	}
	return nil
}

// value measures one channel.
func (d *device) value(ctx context.Context, c *channel) (float64, error) {
	v, err := d.input(ctx, c)
	if err != nil {
		return 0, err
	}
	offset, scale := 0.0, 1.0
	if c.offset != "" {
		if offset, err = d.number(ctx, c.offset); err != nil {
			return 0, fmt.Errorf("offset: %w", err)
		}
	}
	if c.scale != "" {
		if scale, err = d.number(ctx, c.scale); err != nil {
			return 0, fmt.Errorf("scale: %w", err)
		}
		if scale == 0 {
			return 0, errors.New("scale: the kernel says 0")
		}
	}
	return c.convert(v, offset, scale)
}

// convert turns the numbers of the kernel into a value of the sample's unit.
func (k *kind) convert(v, offset, scale float64) (float64, error) {
	v = (v + offset) * scale * k.factor
	v, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil || !(v >= k.min && v <= k.max) {
		return 0, fmt.Errorf("%g %s is no %s", v, k.unit, k.name)
	}
	if k.unit == "percent" {
		v = min(max(v, 0), 100) // near saturation a chip's line runs beyond, as its datasheet says
	}
	return v + 0, nil // never −0
}

// number reads a file that holds one, and waits while it is not ready.
func (d *device) number(ctx context.Context, file string) (float64, error) {
	for range tries {
		if err := sensors.Expired(ctx); err != nil {
			return 0, err
		}
		text, err := d.attr(filepath.Join(d.dir, file))
		switch {
		case err == nil:
			return parseNumber(text)
		case !errors.Is(err, unix.EAGAIN):
			return 0, classify(err)
		}
		if err := sensors.Wait(ctx, retryEvery); err != nil {
			return 0, fmt.Errorf("wait for the first conversion: %w", err)
		}
	}
	return 0, fmt.Errorf("the device has no value yet: %w: %w", sensors.ErrTimeout, unix.EAGAIN)
}

// parseNumber reads what the kernel writes: "-512", "0.125000000". It writes no exponents, and units (" dB") for what is no measurement.
func parseNumber(text string) (float64, error) {
	if text == "" {
		return 0, errors.New("the kernel answered nothing")
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.Trim(text, "-.0123456789") != "" {
		return 0, fmt.Errorf("want a number, got %q", text)
	}
	return v, nil
}

// classify adds what the kernel's error number means.
func classify(err error) error {
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("another program streams this device (buffer/enable is 1): %w", err)
	}
	return sensors.Meaning(err)
}
