// Package hwmon reads whatever a kernel driver offers as a hardware monitor: chips on I²C that the kernel has bound, supplies, fans,
// the sensors of a board or a processor.
//
// # Sources
//
// The kernel's Documentation/hwmon/sysfs-interface.rst, and the document of each chip's driver beside it.
//
// # Wiring
//
// As the chip's own page says; then the kernel must be told of it. On a Raspberry Pi a line in /boot/firmware/config.txt does that for
// good: dtoverlay=i2c-sensor,sht3x (mcp980x, jc42, lm75, tmp102 and others). For a try, until the next boot:
//
//	echo sht3x 0x44 | sudo tee /sys/bus/i2c/devices/i2c-1/new_device
//
// What belongs to the board itself, such as the processor's thermometer, is there without a word. An address that a kernel driver has
// cannot be read by this program's own drivers at the same time.
//
// # Units
//
//   - tempN: temperature_celsius, °C
//   - inN: voltage_1_volts, V
//   - currN: current_amperes, A
//   - powerN: power_watts, W; from powerN_average where the chip has no powerN_input
//   - energyN: energy_joules, J, a counter
//   - humidityN: humidity_percent, relative humidity
//   - fanN: fan_rpm, revolutions per minute
//
// The channel's label is put into the name, without what the name says already: temp2 labelled "Core 0" is temperature_core_0_celsius. A
// channel without one has its number there, temperature_2_celsius, but for number 1; in has its number always, because it counts from 0.
// Labels that two channels share, or that differ in punctuation only, are followed by the channel: temperature_core_0_temp2_celsius.
//
// # Timing
//
// Most drivers measure when the file is read, which blocks: 15 ms for an SHT3x, a second for slow chips. Many answer out of their
// memory when asked again within update_interval, a second or two.
//
// # Quirks
//
//   - The number of hwmonN changes from boot to boot and when a module is loaded again. Chips are found by name and device, and looked at again before
//     each reading.
//   - A channel that the kernel calls faulty (_fault is 1) or that is switched off (_enable is 0, or ENODATA) has no value. Where the
//     configuration names the channel that is an error; otherwise the channel is left out, since boards have many that are not wired.
//   - EAGAIN means that the first conversion is under way (TMP102: 35 ms). It is waited for.
//   - EBADMSG is a wrong PEC and becomes a checksum error. Most drivers say EIO for that and for everything else.
//   - The kernel scales by the chip's own constants. A divider in front of inN, or a shunt that was not made known to the kernel, is not in
//     the value.
//   - Of a DS18B20 (chip w1_slave_temp) 0, 85 and 127.937 °C are refused: they are its faults, which only the type ds18b20 can tell from true values.
//   - Old drivers keep the files one level down, in hwmonN/device.
package hwmon
