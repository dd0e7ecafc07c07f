package hwmon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/sensors"
)

const (
	retryEvery = 50 * time.Millisecond // between two reads of a value that is not ready
	tries      = 20                    // reads before the chip is given up
)

// Why a channel has no value. The kernel says so, and the other channels are none the worse.
var (
	errOff   = errors.New("the channel is switched off")
	errFault = errors.New("the kernel reports a fault: the input is open or shorted, or not wired")
)

// errOneWire: a DS18B20 gives these values when its line is shorted, when it was reset or has too little power, with right checksums.
var errOneWire = errors.New("may be a fault, and only the scratchpad tells: use type = \"ds18b20\"")

// device is one chip in the kernel's tree.
type device struct {
	monitor
	channels []*channel
	chosen   bool                              // the configuration named the channels
	attr     func(path string) (string, error) // sensors.ReadAttr, but in tests
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string {
	if d.device == "" {
		return "hwmon@" + d.chip
	}
	return "hwmon@" + d.chip + ":" + d.device
}

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
	var without error
	for _, c := range d.channels {
		v, err := d.value(ctx, c)
		if err != nil {
			err = fmt.Errorf("%s: %w", c, err)
			if d.chosen || !errors.Is(err, errOff) && !errors.Is(err, errFault) {
				return nil, err
			}
			without = errors.Join(without, err)
			continue
		}
		samples = append(samples, sensors.Sample{Name: c.sample, Value: v})
	}
	if len(samples) == 0 {
		return nil, fmt.Errorf("no channel has a value: %w", without)
	}
	return samples, nil
}

// identify makes sure that the folder is still this chip's: another may have been given its number.
func (d *device) identify(ctx context.Context) error {
	if err := sensors.Expired(ctx); err != nil {
		return err
	}
	now, err := look(d.dir)
	if err != nil {
		return fmt.Errorf("the kernel has let it go: %w", classify(err))
	}
	if now != d.monitor {
		return fmt.Errorf("%s is now %s: %w", filepath.Base(d.dir), now, sensors.ErrAbsent)
	}
	return nil
}

// value measures one channel.
func (d *device) value(ctx context.Context, c *channel) (float64, error) {
	if c.enable {
		if text, err := d.text(ctx, c.String()+"_enable"); err != nil || text == "0" {
			return 0, noValue(err, errOff)
		}
	}
	if c.fault {
		if text, err := d.text(ctx, c.String()+"_fault"); err != nil || text != "0" {
			return 0, noValue(err, errFault)
		}
	}
	text, err := d.text(ctx, c.input)
	if err != nil {
		return 0, err
	}
	if d.chip == "w1_slave_temp" && (text == "0" || text == "85000" || text == "127937") {
		return 0, fmt.Errorf("%s m°C: %w", text, errOneWire)
	}
	return c.decode(text)
}

// noValue is err, or otherwise why.
func noValue(err, why error) error {
	if err != nil {
		return err
	}
	return why
}

// decode turns the text of a file into a value of the sample's unit.
func (k *kind) decode(text string) (float64, error) {
	if text == "" {
		return 0, errors.New("the kernel answered nothing")
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("want a whole number, got %q", text)
	}
	v := float64(n) / k.per
	if v < k.min || v > k.max {
		return 0, fmt.Errorf("%g %s is no %s", v, k.unit, k.name)
	}
	if k.unit == "percent" {
		v = min(max(v, 0), 100) // near saturation a chip's line runs beyond, as its datasheet says
	}
	return v, nil
}

// text reads a file, and waits while its value is not ready.
func (d *device) text(ctx context.Context, file string) (string, error) {
	for range tries {
		if err := sensors.Expired(ctx); err != nil {
			return "", err
		}
		text, err := d.attr(filepath.Join(d.files, file))
		if !errors.Is(err, unix.EAGAIN) {
			return text, classify(err)
		}
		if err := sensors.Wait(ctx, retryEvery); err != nil {
			return "", fmt.Errorf("wait for the first conversion: %w", err)
		}
	}
	return "", fmt.Errorf("the chip has no value yet: %w: %w", sensors.ErrTimeout, unix.EAGAIN)
}

// classify adds what the kernel's error number means.
func classify(err error) error {
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w: %w", errOff, err)
	}
	return sensors.Meaning(err)
}
