package iio

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/sensors"
)

// A DHT sensor must be left alone this long before it is asked again, and is asked so often at one reading.
const (
	dhtPause = 2 * time.Second
	dhtTries = 3
)

// input reads the value of a channel. The kernel's dht11 driver measures pulses in interrupts that come late on a busy machine, and
// fails now and then for no other reason: then it is asked again, as far as ctx leaves the time.
func (d *device) input(ctx context.Context, c *channel) (float64, error) {
	v, err := d.number(ctx, c.input)
	if name, _, _ := strings.Cut(d.chip, "@"); name != "dht11" {
		return v, err
	}
	for range dhtTries - 1 {
		end, limited := ctx.Deadline()
		if !missed(err) || limited && time.Until(end) <= dhtPause+dhtPause/4 {
			break
		}
		if err := sensors.Wait(ctx, dhtPause); err != nil {
			return 0, err
		}
		v, err = d.number(ctx, c.input)
	}
	if missed(err) {
		err = fmt.Errorf("the sensor did not answer, or was not understood (wiring, 4.7 kΩ from data to supply, cable length): %w", err)
	}
	return v, err
}

// missed reports an error of the dht11 driver that may pass: too few edges (ETIMEDOUT), or a wrong checksum or time between them (EIO).
func missed(err error) bool { return errors.Is(err, unix.ETIMEDOUT) || errors.Is(err, unix.EIO) }
