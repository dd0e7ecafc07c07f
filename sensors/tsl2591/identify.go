package tsl2591

import (
	"context"
	"fmt"

	"iotagent/sensors"
)

// identify reads the id, for a scan. Other chips at this address (colour, distance and position sensors) have registers and take the one byte that
// is written for the number of one.
func identify(ctx context.Context, dev *sensors.I2CDev) (string, error) {
	var id [1]byte
	if err := dev.Tx(ctx, []byte{command | regID}, id[:]); err != nil {
		return "", err
	}
	if id[0] != chipID {
		return "", fmt.Errorf("the chip id is 0x%02x, want 0x%02x: %w", id[0], chipID, sensors.ErrAbsent)
	}
	return "TSL2591", nil
}
