package ina226

import (
	"context"
	"errors"
	"fmt"

	"iotagent/sensors"
)

// lastIdentified is the highest address at which a scan asks. Above it there are converters, such as the PCF8591, whose outputs one byte
// can switch on.
const lastIdentified = 0x47

var errNotAsked = errors.New("not asked: it may be a converter with outputs")

// identify reads the ids, for a scan: the die's first, because the number of the manufacturer's resets a hygrometer of the HTU21 family, which
// gives no such die. Other chips at these addresses have registers and take the one byte that is written for the number of one; to
// Sensirion's it is no command.
func identify(ctx context.Context, dev *sensors.I2CDev) (string, error) {
	if dev.Address() > lastIdentified {
		return "", errNotAsked
	}
	d := &device{bus: dev}
	chip, err := d.read(ctx, regDie)
	if err != nil {
		return "", err
	}
	if chip&^revisionMask != die {
		return "", fmt.Errorf("the die's id is 0x%04x, want 0x2260: %w", chip, sensors.ErrAbsent)
	}
	maker, err := d.read(ctx, regManufacturer)
	if err != nil {
		return "", err
	}
	if maker != manufacturer {
		return "", fmt.Errorf("the manufacturer's id is 0x%04x, want 0x5449: %w", maker, sensors.ErrAbsent)
	}
	return "INA226", nil
}
