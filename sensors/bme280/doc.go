// Package bme280 reads Bosch's BME280 (temperature, pressure, humidity) and BMP280 (no humidity) on I²C.
//
// # Datasheets
//
// BME280: BST-BME280-DS002, revision 1.6. BMP280: BST-BMP280-DS001, revision 1.26. Both at bosch-sensortec.com. Section numbers in this
// package are those of the BME280's.
//
// # Wiring
//
// VIN or VCC to 3.3 V (pin 1; the chip takes 1.71 to 3.6 V); SDA to GPIO2 (pin 3 of a Raspberry Pi's header), SCL to GPIO3 (pin 5), GND to
// GND (pin 9).
//
// SDO to GND is address 0x76, to VCC 0x77; boards have a resistor there. CSB goes to VCC, which boards do too: at GND, even for a moment,
// the chip speaks SPI until it loses its power.
//
// The bus is switched on with dtparam=i2c_arm=on in /boot/firmware/config.txt. The Raspberry Pi has pull-up resistors of 1.8 kΩ on it, and
// most boards add theirs, which go to their supply: hence 3.3 V, never 5 V, which the Raspberry Pi's pins do not stand.
//
// # Units
//
//   - temperature_celsius: °C, resolution 0.01, range −40..85
//   - pressure_pascals: Pa, resolution 0.1 (the chip's is 0.18), range 30000..110000, not reduced to sea level
//   - humidity_percent: relative humidity, resolution 0.001 (the chip's is 0.008), range 0..100; a BMP280 has none
//
// # Timing
//
// Each reading is one measurement in forced mode, after which the chip sleeps: 9.3 ms at oversampling 1, 112.8 ms at 16 (appendix B,
// maximum). Forced mode at a slow interval is what the datasheet recommends for weather (3.5.1): it warms the chip least.
//
// # Quirks
//
//   - Many boards sold as BME280 carry a BMP280. It is accepted and named as what it is; humidity is then missing, temperature and
//     pressure are right.
//   - A channel that was not converted reads 0x80000 (humidity 0x8000), which looks plausible when scaled. It is refused.
//   - A broken humidity element reads 0x0000 or 0xFFFF, of which the formula makes 0 or 100 %. That is refused.
//   - After a loss of power the chip forgets its settings and answers with old or no data. The settings are read back before each
//     measurement, and the chip, which may be another one by now, is set up anew when they differ.
//   - Calibration words H4 and H5 are 12-bit signed.
//   - The data must be read in one burst (section 4), or the halves may be of two measurements.
package bme280
