package aht20

import (
	"context"
	"errors"
	"fmt"

	"iotagent/internal/crc8"
	"iotagent/sensors"
)

var errUntold = errors.New("it has not measured since it was switched on, so there is no checksum to know it by")

// identify looks at the status and, where the chip has measured already, at the checksum of that; for a scan. It writes nothing: to a
// PCF8574A, which can be at this address, each byte is the level of its outputs.
func identify(ctx context.Context, dev *sensors.I2CDev) (string, error) {
	var b [frameSize]byte
	if err := dev.Tx(ctx, nil, b[:]); err != nil {
		return "", err
	}
	if b[1] == b[0] && b[2] == b[0] { // a port gives its one byte again and again, a line that is stuck the same bit
		return "", fmt.Errorf("it answers 0x%02x to everything: %w", b[0], sensors.ErrAbsent)
	}
	if b[0]&statusBusy != 0 || crc8.Sum(b[:frameSize-1]) != b[6] {
		return "", errUntold
	}
	return "AHT20", nil
}
