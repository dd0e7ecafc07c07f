// Package iio reads whatever a kernel driver offers as an industrial I/O device: converters, sensors of the air, light and pressure.
//
// # Sources
//
// The kernel's Documentation/ABI/testing/sysfs-bus-iio and driver-api/iio/core.rst; how the files are named, drivers/iio/industrialio-core.c.
//
// # Wiring
//
// As the chip's own page says; then the kernel must be told of it. On a Raspberry Pi a line in /boot/firmware/config.txt does that for
// good: dtoverlay=ads1115,cha_enable for a converter, dtoverlay=i2c-sensor,bme280 (bmp280, bmp380, bh1750 and others),
// dtoverlay=mcp3008,spi0-0-present. For a try, until the next boot:
//
//	echo ads1115 0x48 | sudo tee /sys/bus/i2c/devices/i2c-1/new_device
//
// An address that a kernel driver has cannot be read by this program's own drivers at the same time.
//
// # Units
//
// The kernel's own in brackets. What a device has beyond these (acceleration, proximity, intensity, counts) is not read.
//
//   - temp: temperature_celsius, °C (m°C)
//   - pressure: pressure_pascals, Pa (kPa)
//   - humidityrelative: humidity_percent (m%)
//   - voltage: voltage_0_volts, V (mV); the difference of two inputs, voltage0-voltage1, is voltage_0_1_volts
//   - current: current_amperes, A (mA)
//   - power: power_watts, W (mW)
//   - energy: energy_joules, J, a counter
//   - resistance: resistance_ohms, Ω
//   - illuminance: illuminance_lux, lx
//   - concentration: co2_ppm, voc_ppm, parts per million (percent); concentration_ppm where it does not say of what
//   - distance: distance_meters, m
//   - ph: acidity_ph
//
// A channel's number and modifier stand in the name as in the file: temp_ambient is temperature_ambient_celsius, voltage3 voltage_3_volts. Its
// label, where it has one, takes the place of the number: voltage_battery_volts. Labels that two channels share are followed by the number.
// Values are rounded to nine digits, which is more than any converter has.
//
// # Timing
//
// A driver converts when the file is read, and blocks: a millisecond to a second for each channel, an SCD4x up to five.
//
// # Quirks
//
//   - A value is (raw + offset) × scale; the offset comes first. Where there is a file _input the kernel has done that, and it is read
//     instead. Scale and offset are the channel's own, or shared by its type, or by all; which is looked up once, and the values at each
//     reading, after the raw one, since a driver that sets its own range changes them.
//   - The number of iio:deviceN changes from boot to boot. Devices are found by name and place, and looked at again before each reading.
//   - While a program streams a device through its buffer, a read is answered with EBUSY.
//   - EAGAIN means that the first conversion is under way. It is waited for.
//   - The kernel's driver for the MAX31865 leaves an offset of −256 °C out. It is refused; there is a type max31865.
//   - A driver may describe a chip that is not there: few of them check its identity.
//
// # DHT11, DHT22, AM2302
//
// These are read through the kernel's dht11 driver, which knows all three, and by no driver of ours. The sensor sends 40 bits as pulses of
// 26 or 70 µs, 5 ms in all, whenever it is asked, at its own pace. A program would have to pull the line low, make it an input by another
// system call, and take some 80 edges of what follows. Their times are good enough, since the kernel takes them in the interrupt. But
// they are not sure to be there: the kernel's GPIO device masks the interrupt until a thread has dealt with the edge, and of two edges
// that come meanwhile, 26 µs apart, one is lost without a trace. One lost edge loses the frame, or shifts it; a sum of eight bits does not find
// each frame that was put together wrongly, so that asking until the sum fits gives wrong values now and then. The kernel's driver
// takes its edges in the interrupt itself, and even that misses some on a busy machine.
//
// Wiring: supply 3.3 V, data to any line of the header with 4.7 kΩ to 3.3 V, ground; the cable short. Switch on in
// /boot/firmware/config.txt: dtoverlay=dht11,gpiopin=17. The chip is then called dht11@ and a number: leave chip out where
// it is the only device. Its habits, from drivers/iio/humidity/dht11.c:
//
//   - ETIMEDOUT is an answer with too few edges, or none; EIO one whose times or sum are wrong. Both pass: it is asked again after the 2 s that the
//     sensor needs, at most three times and as long as the timeout allows. timeout = "5s", the default at intervals from 5 s on, is right.
//   - A value is kept for 2 s: temperature and humidity of one reading are of one measurement, and an interval below 2 s reads it twice.
//
// Where there is a choice, an I²C sensor (SHT4x, AHT20) costs as much and never does any of this.
package iio
