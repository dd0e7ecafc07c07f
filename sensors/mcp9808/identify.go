package mcp9808

import (
	"context"

	"iotagent/sensors"
)

// identify reads the two ids, for a scan. Other chips at these addresses (accelerometers, memory modules' thermometers) have registers and take
// the one byte that is written for the number of one; to a DS2482 it is no command.
func identify(ctx context.Context, dev *sensors.I2CDev) (string, error) {
	if err := (&device{bus: dev}).identify(ctx); err != nil {
		return "", err
	}
	return "MCP9808", nil
}
