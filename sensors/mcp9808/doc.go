// Package mcp9808 reads Microchip's MCP9808 thermometer on I²C.
//
// # Datasheet
//
// DS25095A (2011), at microchip.com. Section numbers in this package are its.
//
// # Wiring
//
// VDD to 3.3 V (pin 1; the chip takes 2.7 to 5.5 V); SDA to GPIO2 (pin 3 of a Raspberry Pi's header), SCL to GPIO3 (pin 5), GND to GND
// (pin 9).
//
// A0 to A2 set the address, 0x18 with all at GND, which boards do; A0 at VDD adds 1, A1 2, A2 4. ALERT stays open.
//
// The bus is switched on with dtparam=i2c_arm=on in /boot/firmware/config.txt. The Raspberry Pi has pull-up resistors of 1.8 kΩ on it, and
// most boards add theirs, which go to their supply: hence 3.3 V, never 5 V, which the Raspberry Pi's pins do not stand.
//
// # Units
//
//   - temperature_celsius: °C, −40..125, resolution 0.0625 (0.5 at the coarsest); ±0.5 °C at most from −20 to 100 °C
//
// # Timing
//
// Each reading is one conversion, after which the chip is shut down. The datasheet gives the typical time only: 30, 65, 130 or 250 ms,
// by resolution. Twice that is waited for, because nothing in the chip says when a conversion is done.
//
// # Quirks
//
//   - The three upper bits of the temperature word are alarms, not part of the value (5.1.3). They are masked: with the limits at
//     their reset value of 0 °C they are hardly ever all zero.
//   - After a loss of power the temperature reads 0 °C until the first conversion. One bit of the hysteresis, which has no effect as
//     long as the alert output is off, is set as a mark; it is looked for before and after each measurement.
//   - A chip whose limits were locked by other software refuses its settings until it loses its power (5.2.1). It is refused, with
//     that advice. The alert output is not used.
package mcp9808
