// Package all lists the sensor drivers. A new driver is one folder beside this one and one line here.
package all

import (
	"iotagent/sensors"
	"iotagent/sensors/ads1115"
	"iotagent/sensors/aht20"
	"iotagent/sensors/bh1750"
	"iotagent/sensors/bme280"
	"iotagent/sensors/bmp388"
	"iotagent/sensors/counter"
	"iotagent/sensors/digital"
	"iotagent/sensors/ds18b20"
	execsensor "iotagent/sensors/exec"
	"iotagent/sensors/hwmon"
	"iotagent/sensors/iio"
	"iotagent/sensors/ina219"
	"iotagent/sensors/ina226"
	"iotagent/sensors/lm75"
	"iotagent/sensors/max31855"
	"iotagent/sensors/max31865"
	"iotagent/sensors/mcp3008"
	"iotagent/sensors/mcp9808"
	"iotagent/sensors/modbus"
	"iotagent/sensors/pcf8574"
	"iotagent/sensors/scd4x"
	"iotagent/sensors/sht3x"
	"iotagent/sensors/sht4x"
	"iotagent/sensors/sim"
	"iotagent/sensors/system"
	"iotagent/sensors/tsl2591"
)

// Drivers returns every driver, in the order of their types.
func Drivers() []sensors.Driver {
	return []sensors.Driver{
		ads1115.Driver(),
		aht20.Driver(),
		bh1750.Driver(),
		bme280.Driver(),
		bmp388.Driver(),
		counter.Driver(),
		digital.Driver(),
		ds18b20.Driver(),
		execsensor.Driver(),
		hwmon.Driver(),
		iio.Driver(),
		ina219.Driver(),
		ina226.Driver(),
		lm75.Driver(),
		max31855.Driver(),
		max31865.Driver(),
		mcp3008.Driver(),
		mcp9808.Driver(),
		modbus.Driver(),
		pcf8574.Driver(),
		scd4x.Driver(),
		sht3x.Driver(),
		sht4x.Driver(),
		sim.Driver(),
		system.Driver(),
		tsl2591.Driver(),
	}
}
