// Package ds18b20 reads Maxim's DS18B20 thermometer through the kernel's 1-Wire tree (w1_therm).
//
// # Datasheet
//
// DS18B20, document 19-7487, revision 6, at analog.com. The kernel's side is Documentation/w1/slaves/w1_therm.rst.
//
// # Units
//
//   - temperature_celsius: °C, −55..125, resolution 0.0625 at 12 bits
//
// # Timing
//
// A reading starts a conversion and blocks for it: 750 ms at 12 bits, 94 ms at 9. The kernel lets one sensor of a bus
// convert at a time, so ten sensors take 8 s: give them an interval to match.
//
// # Quirks
//
//   - w1_slave is read, not temperature: it comes with the nine bytes of the scratchpad, without which a data line that is shorted to
//     ground reads as 0 °C with a right checksum, and a sensor that was reset during its conversion as 85 °C. Both
//     are told from true readings of 0 and 85 °C here. The file temperature is read where there is no w1_slave; those three values are then refused.
//   - On any failure kernels since 5.10 answer a read with no bytes and no error. So does a read that a signal broke off. It is
//     tried once more.
//   - A sensor that was unplugged stays listed for about 100 s, and a new one takes up to 10 s to appear.
package ds18b20
