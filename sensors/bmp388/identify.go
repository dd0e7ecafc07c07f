package bmp388

import (
	"context"

	"iotagent/sensors"
)

// identify reads the chip id, for a scan. Other chips at these addresses have registers and take the one byte that is written for the
// number of one; a multiplexer takes it for its channels, which the scan puts back; to an MS5611 it means to be read.
func identify(ctx context.Context, dev *sensors.I2CDev) (string, error) {
	d := &device{bus: dev}
	if err := d.identify(ctx); err != nil {
		return "", err
	}
	if d.is390 {
		return "BMP390", nil
	}
	return "BMP388", nil
}
