// Package ads1115 reads TI's ADS1115, four analog inputs with 16 bits, on I²C.
//
// # Datasheet
//
// SBAS444, revision E (December 2024), at ti.com. Section numbers in this package are those of that revision.
//
// # Wiring
//
// VDD to 3.3 V (pin 1; the chip takes 2 to 5.5 V); SDA to GPIO2 (pin 3 of a Raspberry Pi's header), SCL to GPIO3 (pin 5), GND to GND (pin
// 9).
//
// ADDR to GND is address 0x48, to VDD 0x49, to SDA 0x4a, to SCL 0x4b; boards pull it to GND. ALRT stays open.
//
// What is measured goes to A0 to A3, with its ground to GND.
//
// The bus is switched on with dtparam=i2c_arm=on in /boot/firmware/config.txt. The Raspberry Pi has pull-up resistors of 1.8 kΩ on it, and
// most boards add theirs, which go to their supply: hence 3.3 V, never 5 V, which the Raspberry Pi's pins do not stand.
//
// # Units
//
// One value for each channel, in volts between the pins, called as the configuration says: "level_volts", or "a0_volts" and "a0_a1_volts" after
// the pins. Its resolution is range_volts / 32768: 125 µV with 4.096 V, 7.8125 µV with 0.256 V.
//
// # Timing
//
// The channels are converted one after the other, each in single-shot mode, after which the chip sleeps. A conversion takes
// 1 / samples_per_second and up to a ninth more, as the chip's clock may be 10 % slow: 8.7 ms at 128, 139 ms at 8.
//
// # Quirks
//
//   - The chip has no identity. Its two threshold registers, which nothing here changes, must hold their reset values; a thermometer at the same
//     address has others there.
//   - A start is ignored while a conversion is under way (8.1.3), and what is read next is then of another channel. The chip is waited for
//     before each reading, and the settings are compared when a conversion is done.
//   - The comparator's polarity is set although the comparator is off: so that a chip that was reset, whose conversion register is 0, has
//     settings that are none of ours.
//   - A value at the end of the range may be any larger one; it is refused, and with it the reading of all channels.
//   - A pin must stay between ground and the chip's supply, whatever its range: with a supply of 3.3 V nothing above 3.3 V can be measured.
//     A higher voltage needs a divider.
//   - An input against ground may read a little below 0: that is the chip's offset, and is kept.
//   - The inputs have an impedance of some MΩ: a source of 10 kΩ reads about 0.2 % low (7.3.2).
//   - An ADS1015 works too. It has 12 bits, in the same place, and is done sooner than it is waited for.
package ads1115
