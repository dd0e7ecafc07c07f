// Package sht4x reads Sensirion's SHT40, SHT41, SHT43 and SHT45 (temperature, humidity) on I²C.
//
// # Datasheet
//
// Datasheet SHT4x, document D1, versions 5 to 7.1, at sensirion.com. The section numbers move from version to version, so this package
// names sections by their titles.
//
// # Wiring
//
// VDD to 3.3 V (pin 1; the chip takes 1.08 to 3.6 V, and 5 V only on a board with a regulator); SDA to GPIO2 (pin 3 of a Raspberry Pi's
// header), SCL to GPIO3 (pin 5), GND to GND (pin 9).
//
// The address is in the part's number: 0x44 for -A, 0x45 for -B, 0x46 for -C.
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
// Each reading is one measurement, after which the chip idles: 10 ms at repeatability "high", 5 ms at "medium", 2 ms at "low". The
// datasheet's maxima are 8.3, 4.5 and 1.6 ms ("Timing Specifications"); the maker's own code rounds them up, too.
//
// # Quirks
//
//   - The chip acknowledges nothing while it measures, and does not stretch the clock. So a command and its answer are two
//     transactions with a pause between them; a repeated start would be refused.
//   - It has no settings and no register to identify it by: it is known by a serial number with right checksums. It shares 0x44
//     and 0x45 with the SHT3x, which speaks another language, and with INA2xx.
//   - The formula reaches from −6 to 119 % on purpose. Values a little beyond 0 and 100 % are cropped, as the datasheet says
//     ("Conversion of Signal Output"). The two ends themselves, raw 0x0000 and 0xFFFF, are what a broken sensor gives, with right
//     checksums, and are refused.
//   - A chip that was damaged by a static discharge may answer 0x8000 for both values, with right checksums: a plausible 42.5 °C and
//     56.5 %. That pair is refused.
//   - The heater is never switched on: it would spoil every other reading.
package sht4x
