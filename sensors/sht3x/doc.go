// Package sht3x reads Sensirion's SHT30, SHT31, SHT35 and SHT85 (temperature, humidity) on I²C.
//
// # Datasheet
//
// Datasheet SHT3x-DIS, version 5 of May 2018, at sensirion.com; section numbers in this package are its. The serial number is in
// the note "Electronic Identification Code", version 3 of January 2023.
//
// # Wiring
//
// VDD to 3.3 V (pin 1; the chip takes 2.15 to 5.5 V); SDA to GPIO2 (pin 3 of a Raspberry Pi's header), SCL to GPIO3 (pin 5), GND to GND
// (pin 9).
//
// ADDR to GND is address 0x44, to VDD 0x45; boards pull it to GND. It must not hang open on a bare chip. ALERT and RESET stay open.
//
// The bus is switched on with dtparam=i2c_arm=on in /boot/firmware/config.txt. The Raspberry Pi has pull-up resistors of 1.8 kΩ on it, and
// most boards add theirs, which go to their supply: hence 3.3 V, never 5 V, which the Raspberry Pi's pins do not stand.
//
// # Units
//
//   - temperature_celsius: °C, resolution 0.01, range −40..125
//   - humidity_percent: relative humidity, resolution 0.01, range 0..100
//
// # Timing
//
// Each reading looks at the chip's status, 1 ms, and makes one single-shot measurement, after which the chip idles: 16 ms at
// repeatability "high", 7 ms at "medium", 5 ms at "low". Version 5 has 1 ms less (section 2.2), later ones do not.
//
// # Quirks
//
//   - Clock stretching is not used: some adapters, the Raspberry Pi's among them, cannot do it. So a command and its answer are two
//     transactions with a pause between them; the chip refuses to be read before it is ready.
//   - Another program may have left the chip measuring periodically, when it takes no other commands. That is ended first.
//   - Values read while the heater is on are too warm and too dry. The status is read before each measurement. A heater that
//     is on is switched off, and that reading is an error.
//   - A chip that was reset since the last reading (it lost its power, and may be another one by now) is identified and set up anew.
//   - It has no register to identify it by: it is known by a serial number with right checksums. It shares its addresses with the
//     SHT4x, to which the first byte of a measurement command means "heat", hence no measurement before the serial number.
//   - A temperature of raw 0x0000 or 0xFFFF has a right checksum, too. It scales to −45 or 130 °C, beyond the chip's
//     range, and is refused.
package sht3x
