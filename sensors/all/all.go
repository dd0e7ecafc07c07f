// Package all lists the sensor drivers. A new driver is one folder beside this one and one line here.
package all

import (
	"iotagent/sensors"
	"iotagent/sensors/bme280"
	"iotagent/sensors/ds18b20"
	"iotagent/sensors/sim"
	"iotagent/sensors/system"
)

// Drivers returns every driver, in the order of their types.
func Drivers() []sensors.Driver {
	return []sensors.Driver{
		bme280.Driver(),
		ds18b20.Driver(),
		sim.Driver(),
		system.Driver(),
	}
}
