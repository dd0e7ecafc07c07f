// Package max31855 reads thermocouples through Maxim's MAX31855 on SPI.
//
// # Datasheet
//
// MAX31855, 19-5793, revision 5 of January 2015, at analog.com.
//
// # Units
//
//   - temperature_celsius: °C at the thermocouple's tip, resolution 0.25, over the range of its kind (table 1)
//   - cold_junction_celsius: °C of the chip, where the thermocouple's wires end, resolution 0.0625, range −40..125
//
// # Timing
//
// The chip converts all the time and takes 70 ms, 100 at most. A reading ends the conversion under way, so two are never closer than 100 ms; the
// value of a reading is of a conversion that ended before it.
//
// # Wiring
//
//   - VCC to 3.3 V (3.0..3.6 V), GND to ground
//   - SO (DO) to MISO, SCK (CLK) to SCLK, CS to a chip select (Raspberry Pi: pins 21, 23 and 24 for "0.0", 26 for "0.1"; switched on with
//     dtparam=spi=on in config.txt); MOSI stays open, the chip cannot be written to
//   - the thermocouple to T+ and T−, with the right polarity or it falls when it is heated; its tip must not touch anything that is grounded; 10 nF
//     across the two keep noise away
//
// # The kind of thermocouple
//
// It is a property of the chip, in the last letter before the package of its part number (MAX31855KASA+ is for K), and cannot be set or asked for:
//
//   - K: nickel-chromium and nickel-aluminium, −200..1350 °C; J: iron and constantan, −40..750; N: nicrosil and nisil, −200..1300
//   - T: copper and constantan, −250..400; E: chromel and constantan, −40..900
//   - S and R: platinum with 10 % and 13 % rhodium, −50..1600 and −50..1770
//
// The key thermocouple says which it is, so that a value beyond its range is refused; it changes no value.
//
// # Quirks
//
//   - The chip takes every thermocouple for linear. For K that is wrong by up to 6 °C from 0 to 1000 °C and by 14 °C at −100; S and R are
//     farther off below 200 °C. Values are reported as the chip gives them; the calibration points of the sensor can mend them.
//   - It has no identity. Its frame has two bits that are always 0 and a summary of its faults, which are checked; all bits 0, which would be 0 °C on
//     both ends, is what a missing chip reads.
//   - On a fault the temperature is nonsense, while the cold junction is right. No value is reported then: the error says what is wrong.
//   - The MAX6675, its predecessor, has another frame and is refused; the MAX31856 is another chip altogether.
package max31855
