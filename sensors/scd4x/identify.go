package scd4x

import (
	"context"
	"errors"

	"iotagent/sensors"
)

var errTalkative = errors.New("not asked: it answers to anything, and may be a driver of lamps")

// identify asks whether there is data, which has a checksum and which the chip tells while it measures, too; for a scan. To a driver of lamps or
// servos (PCA9633, PCA9685) that would be a setting: what lets itself be read without a question, as they do and this chip does not, is not asked.
func identify(ctx context.Context, dev *sensors.I2CDev) (string, error) {
	if dev.Tx(ctx, nil, make([]byte, 1)) == nil {
		return "", errTalkative
	}
	if _, err := (&device{bus: dev}).ask(ctx, dataReady(), 1); err != nil {
		return "", err
	}
	return "SCD4x", nil
}
