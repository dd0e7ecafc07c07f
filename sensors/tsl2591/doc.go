// Package tsl2591 reads ams's TSL2591 (light, from moonlight to bright day) on I²C.
//
// # Datasheet
//
// TSL2591, version 2-04 of 2018, at ams-osram.com. The datasheet has no formula for lux; the one used here is in general use for this chip,
// in the kernel too: the visible light times its part of all light, (CH0 − CH1) · (1 − CH1/CH0) · 408 / (gain · integration time in ms).
//
// # Units
//
//   - illuminance_lux: lx, five digits, from 0.0001 to about 88000; lamps that are rich in infrared are some 20 % off
//   - full_spectrum_count, infrared_count, with raw = true: what the two diodes counted, divided by the gain and the integration time so that they can be
//     compared: counts at gain "low" in 100 ms
//
// # Timing
//
// A measurement takes the integration time and up to a fifth more, after which the chip is off. With gain = "auto" the gain of the last reading is tried
// first; when it is too high or too low others are tried, up to four measurements in one reading: 0.5 s at 100 ms, 2.9 s at 600 ms.
//
// # Wiring
//
//   - VDD to 3.3 V (2.7..3.6 V; boards with VIN have a regulator), GND to ground
//   - SDA and SCL to the bus (Raspberry Pi: pins 3 and 5, switched on with dtparam=i2c_arm=on in config.txt), with pull-ups of some 4.7 kΩ to VDD, which
//     boards have; INT stays open
//   - the address is always 0x29, which distance sensors of the VL53 family have as well
//
// # Quirks
//
//   - A channel that is full reads 36863 at 100 ms and 65535 otherwise. That is no value: a lower gain is taken, or it is an error.
//   - Darkness, no count at all, is 0 lx. So is light that is all infrared, where the formula would give nonsense.
//   - What the gains "medium", "high" and "max" are, 25, 428 and 9876, is typical; chips differ by 10 %.
//   - A measurement that was broken off would leave old data that looks valid. It is switched off before each measurement.
//   - The kernel's driver tsl2591 divides by zero in the dark and at low gain: keep its overlay off.
package tsl2591
