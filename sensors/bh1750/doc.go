// Package bh1750 reads ROHM's BH1750FVI light sensor on I²C.
//
// # Datasheet
//
// BH1750FVI technical note, No. 09046EBT01, 2009.04, revision B, at rohm.com.
//
// # Wiring
//
// VCC to 3.3 V (pin 1; the chip takes 2.4 to 3.6 V, boards with a regulator 5 V, too); SDA to GPIO2 (pin 3 of a Raspberry Pi's header),
// SCL to GPIO3 (pin 5), GND to GND (pin 9).
//
// ADDR to GND or open on a board is address 0x23, to VCC 0x5c. The window of the chip must see the light.
//
// The bus is switched on with dtparam=i2c_arm=on in /boot/firmware/config.txt. The Raspberry Pi has pull-up resistors of 1.8 kΩ on it, and
// most boards add theirs, which go to their supply: hence 3.3 V, never 5 V, which the Raspberry Pi's pins do not stand.
//
// # Units
//
//   - illuminance_lux: lx, 0..121556, rounded to 0.01. A step is 0.83 lx in mode high, 0.42 lx in high2 and 3.3 lx in low, at a measurement
//     time of 69, and the smaller the longer that is. Chips differ by ±20 % (page 2)
//
// # Timing
//
// Each reading is one measurement in one-time mode, after which the chip powers down. It takes 180 ms, in mode low 24 ms (the datasheet's
// maximum), in proportion to the measurement time: 663 ms at 254. A second one, of 81 ms, follows when the first was dazzled.
//
// # Quirks
//
//   - The chip has no identity and no checksum. A PCF8574 at 0x23 answers as well, with the same byte twice.
//   - 0x0000 is what it answers in the dark, before its first measurement has ended, and on a line that is shorted to ground. They cannot be told
//     apart, so the longest time that the datasheet names is waited out every time, and 0 lx is believed.
//   - 0xFFFF is light beyond the range: 54612 lx in mode high, half of it in high2. The measurement is then made again in mode high with the
//     shortest measurement time, 31, which reaches 121556 lx, direct sunlight. Brighter than that is an error.
//   - The chip forgets its measurement time with its power. It is written before every measurement.
//   - The measurement time changes the sensitivity, not the value: the formula takes it out again. For a window that takes away light,
//     scale the value.
//   - Each opcode is a transaction of its own, and the data is read without naming a register (page 10).
package bh1750
