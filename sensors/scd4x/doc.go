// Package scd4x reads Sensirion's SCD40, SCD41 and SCD43 (CO₂, temperature, humidity) on I²C.
//
// # Datasheet
//
// SCD4x, version 1.3 of 2022, at sensirion.com. Section numbers in this package are its own; the command that asks which of the chips it is stands
// in later versions.
//
// # Units
//
//   - co2_ppm: parts per million, resolution 1; specified for 400..2000 (SCD40) or 400..5000 (SCD41), scale to 40000
//   - temperature_celsius: °C, resolution 0.01, range −10..60; the chip has taken temperature_offset_celsius off already
//   - humidity_percent: relative humidity, resolution 0.01, range 0..100
//
// # Timing
//
// In mode "periodic" the chip makes a measurement every 5 s by itself, in "low-power" every 30 s; a reading takes the newest one, or waits
// for it. An interval shorter than that gives readings that time out. The first value comes 5 s (30 s) after the start: give the sensor
// timeout = "8s" and it is not lost. In mode "single-shot" each reading makes a measurement of its own, which takes 5 s, and the first one
// after the start makes two: give the sensor timeout = "12s".
//
// # Wiring
//
//   - VDD to 3.3 V (2.4..5.5 V; it draws pulses of 0.2 A), GND to ground
//   - SDA and SCL to the bus (Raspberry Pi: pins 3 and 5, switched on with dtparam=i2c_arm=on in config.txt), with pull-ups of some 10 kΩ to VDD, which
//     boards have; with VDD at 5 V the pull-ups must still go to 3.3 V
//   - the address is always 0x62; the bus must not be faster than 100 kHz
//   - away from heat, and open to the air
//
// # Quirks
//
//   - While it measures, the chip acknowledges few commands, and none while it sleeps. One that does not answer is woken and stopped
//     once, and asked again; only then is it absent.
//   - An answer may be fetched no sooner than the command's time, in a transaction of its own.
//   - Reading before a value is there gives no acknowledge. The chip is asked first whether it has one.
//   - Settings go to the chip's memory that forgets them: its EEPROM lasts for 2000 writes. On each opening the chip loads its EEPROM and
//     is then given those settings that the configuration has; the others keep what the EEPROM says. A chip that has no value when one is due
//     lost its power, and is set up anew.
//   - The self-calibration takes the lowest value of a week for 400 ppm. In a greenhouse, or a room that is never aired, it does harm:
//     self_calibration = false. It needs a chip that stays powered.
//   - Temperature and humidity are those of the chip, which warms itself: the offset mends both, and has no effect on CO₂. The pressure of
//     the air has: set altitude_meters or pressure_pascals.
//   - The first CO₂ value of a single shot after power-up or sleep is not to be used (3.10.1). It is thrown away.
//   - An SCD40 has no single shot.
package scd4x
