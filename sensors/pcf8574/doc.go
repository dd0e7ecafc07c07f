// Package pcf8574 reads the pins of I/O expanders on I²C as inputs: NXP's and TI's PCF8574, PCF8574A (eight pins) and PCF8575 (sixteen).
//
// # Datasheets
//
// PCF8574: TI SCPS068. PCF8575: TI SCPS121. Both at ti.com.
//
// # Units
//
//   - one value for each input that the configuration names, door_state for an input called door: 1 when the pin is high, 0 when it is low; with
//     active_low the other way round
//
// # Timing
//
// A reading is the pins at that moment, one transaction of 0.2 ms at 100 kHz. What happens between two readings is not seen.
//
// # Wiring
//
//   - VCC to 3.3 V (2.5..6 V; on a Raspberry Pi not 5 V, or the pull-ups must go to 3.3 V), GND to ground
//   - SDA and SCL to the bus (Raspberry Pi: pins 3 and 5, switched on with dtparam=i2c_arm=on in config.txt), with pull-ups of some 4.7 kΩ, which boards
//     have; the bus must not be faster than 100 kHz for a PCF8574; INT stays open
//   - A0 to A2 to ground or VCC make the address: 0x20 to 0x27 for PCF8574 and PCF8575, 0x38 to 0x3f for PCF8574A
//   - a contact from a pin to ground, with active_low = true: the chip's own pull-up is enough for short wires; long ones want 10 kΩ to VCC
//
// # Quirks
//
//   - A pin has no direction. It is an input while a 1 is written to it, which is a weak pull-up, and all are after power-up. This driver writes nothing
//     unless the key latch says what, and so disturbs no pin that is another program's output; a latch of 0 on an input would read as 0 for ever.
//   - What is read are the pins, not what was written: written back, they would switch off an output that something pulls down. The key latch is the
//     one memory of what the outputs are to be, and is written before each reading, because a chip that lost its power comes back with all pins high.
//   - There is no identity and no checksum: whatever acknowledges at the address is taken for the chip. A kernel driver that has it (gpio-pcf857x) is
//     noticed and named; its lines can be read with the sensor type digital.
package pcf8574
