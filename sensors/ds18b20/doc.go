// Package ds18b20 reads Maxim's DS18B20 thermometer through the kernel's 1-Wire tree (w1_therm).
//
// # Datasheet
//
// DS18B20, document 19-7487, revision 6, at analog.com. The kernel's side is Documentation/w1/slaves/w1_therm.rst.
//
// # Wiring
//
// GND to GND (pin 9 of a Raspberry Pi's header), DQ to GPIO4 (pin 7), VDD to 3.3 V (pin 1), and one resistor of 4.7 kΩ from DQ to 3.3 V
// for the whole bus. Many sensors share the three wires, in a line and not in a star. The colours of ready-made cables differ from maker
// to maker.
//
// The sensor can do with two wires, VDD at GND; that works on short cables only, and a conversion that draws too much reads 85 °C. Use
// three.
//
// The bus is switched on with dtoverlay=w1-gpio in /boot/firmware/config.txt; dtoverlay=w1-gpio,gpiopin=17 takes another line. A DS2482 on
// I²C makes a bus as well.
//
// # Units
//
//   - temperature_celsius: °C, −55..125, resolution 0.0625 at 12 bits
//
// # Timing
//
// A reading starts a conversion and blocks for it: 750 ms at 12 bits, 94 ms at 9. The kernel lets one sensor of a bus
// convert at a time, so that sensors which are read at the same time wait for each other: ten take 8 s. Give them timeout = "10s" then, and an interval
// to match, or an offset each.
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
