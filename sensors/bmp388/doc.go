// Package bmp388 reads Bosch's BMP388 and BMP390 (pressure and temperature) on I²C.
//
// # Datasheets
//
// BMP388: BST-BMP388-DS001, revision 1.1. BMP390: BST-BMP390-DS002, revision 1.7. Both at bosch-sensortec.com. Registers are named as there.
//
// # Wiring
//
// VIN or VCC to 3.3 V (pin 1; the chip takes 1.65 to 3.6 V); SDA to GPIO2 (pin 3 of a Raspberry Pi's header), SCL to GPIO3 (pin 5), GND to
// GND (pin 9).
//
// SDO to GND is address 0x76, to VCC 0x77; boards have a resistor there. CSB goes to VCC, which boards do too: at GND the chip speaks SPI.
// INT stays open.
//
// The bus is switched on with dtparam=i2c_arm=on in /boot/firmware/config.txt. The Raspberry Pi has pull-up resistors of 1.8 kΩ on it, and
// most boards add theirs, which go to their supply: hence 3.3 V, never 5 V, which the Raspberry Pi's pins do not stand.
//
// # Units
//
//   - pressure_pascals: Pa, resolution 0.1 (the chip's is 2.6 at oversampling 1, 0.085 at 32), range 30000..125000, not reduced to sea level
//   - temperature_celsius: °C, resolution 0.01, range −40..85; that of the chip, a little above its surroundings'
//
// # Timing
//
// Each reading is one measurement in forced mode, after which the chip sleeps: 6 ms at oversampling 1, 71 ms at 32. The datasheet
// gives typical times; the chip is asked whether it is done. The temperature is oversampled twice from 16 on, as the
// datasheet recommends, and not below.
//
// # Quirks
//
//   - A channel that was not converted reads 0x800000, which looks plausible when scaled (about 24 °C and 80 kPa). It is refused.
//   - After a loss of power the chip forgets its settings. It remembers that in its event register, which is read before each
//     measurement together with the settings, and the chip, which may be another one by now, is set up anew.
//   - The chip refuses a command while it is busy with another, without any sign on the bus: its error register is read too.
//   - The data must be read in one burst, or the bytes may be of two measurements.
//   - A BMP280 or BME280 has the same addresses. It is told apart and refused: use type bme280.
package bmp388
