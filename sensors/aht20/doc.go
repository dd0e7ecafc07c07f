// Package aht20 reads Aosong's AHT20, AHT21, AHT25 and DHT20 (temperature, humidity) on I²C.
//
// # Datasheet
//
// AHT20 product manual, version 1.1, and DHT20 data sheet, version 1.0 of May 2021, at aosong.com. Section numbers in this package are
// those of the DHT20's, which is the clearer one. The AHT20's versions 1.0 and 1.1 contradict each other on where humidity ends and
// temperature begins; version 1.0 is right, each has 20 bits.
//
// # Wiring
//
// VDD to 3.3 V (pin 1; the chip takes 2 to 5.5 V); SDA to GPIO2 (pin 3 of a Raspberry Pi's header), SCL to GPIO3 (pin 5), GND to GND (pin
// 9).
//
// The address cannot be changed: one on a bus, or each behind a channel of a TCA9548A. The legs of a DHT20 are, seen from the side with
// the grid, VDD, SDA, GND, SCL.
//
// The bus is switched on with dtparam=i2c_arm=on in /boot/firmware/config.txt. The Raspberry Pi has pull-up resistors of 1.8 kΩ on it, and
// most boards add theirs, which go to their supply: hence 3.3 V, never 5 V, which the Raspberry Pi's pins do not stand.
//
// # Units
//
//   - temperature_celsius: °C, resolution 0.01, range −40..85 (the DHT20's ends at 80)
//   - humidity_percent: relative humidity, resolution 0.01 (the chip's is 0.024), range 0..100
//
// # Timing
//
// Each reading is one measurement, after which the chip idles: 80 ms, and up to 40 ms more when it is late. It warms itself when it is
// read more often than every 2 s.
//
// # Quirks
//
//   - It has one address, 0x38, and no register to identify it by: it is known by the checksum of its measurements. The
//     AHT10, its predecessor, sends none and is refused.
//   - Boards that carry an AHT20 beside a BMP280 have the latter at 0x77.
//   - What the data sheets call sending 0x71 is the chip's address with the read bit. A driver that sends it as a command keeps some
//     chips busy for ever. Here the status is simply read, as the first byte of any answer.
//   - A chip that has not loaded its calibration says so in its status, and its values are nonsense. It is reset and initialised, before
//     each measurement if need be. The vendor's sample code also copies undocumented registers onto themselves; as these carry no
//     checksum, a bit damaged on the way would shift all later values unnoticed, so that is left alone.
//   - An answer that is read while the chip is busy may have a right checksum and hold other values. It is refused before the checksum
//     is looked at.
//   - A humidity of exactly 0 is what the chip gives when it measured nothing, also with a right checksum. It is refused.
package aht20
