// Package lm75 reads thermometers of the LM75 family on I²C: LM75, PCT2075, TMP75, TMP102 and their relatives.
//
// # Datasheets
//
//   - lm75: LM75A SNOS808O, LM75B and LM75C SNIS153B, all Texas Instruments (National)
//   - pct2075: LM75B, revision 6.1 (2015), LM75A, revision 4 (2007), both NXP; the PCT2075 is their successor
//   - tmp75: TMP75 and TMP175, SBOS288M, Texas Instruments
//   - tmp102: TMP102, SBOS397I, Texas Instruments; section numbers in this package are its
//
// # Wiring
//
// VCC to 3.3 V (pin 1; a TMP102 takes 1.4 to 3.6 V, the others 3 to 5.5 V); SDA to GPIO2 (pin 3 of a Raspberry Pi's header), SCL to
// GPIO3 (pin 5), GND to GND (pin 9).
//
// A0 to A2 set the address, 0x48 with all at GND. A TMP102 has ADD0 alone: GND 0x48, supply 0x49, SDA 0x4a, SCL 0x4b. OS or ALERT stays
// open.
//
// The bus is switched on with dtparam=i2c_arm=on in /boot/firmware/config.txt. The Raspberry Pi has pull-up resistors of 1.8 kΩ on it, and
// most boards add theirs, which go to their supply: hence 3.3 V, never 5 V, which the Raspberry Pi's pins do not stand.
//
// # Units
//
//   - temperature_celsius: °C, −55..125; resolution 0.5 (lm75), 0.125 (pct2075) or 0.0625 (tmp75, tmp102)
//
// # Timing
//
// Each reading is one conversion, after which the chip is shut down: 320 ms (lm75, tmp75), 200 ms (pct2075, two of its
// periods) or 40 ms (tmp102). These are the longest times of the datasheets, and some more.
//
// # Quirks
//
//   - These chips have no identity. The configuration names the chip; it is checked that the reserved bits of its settings are as they
//     should be and that it keeps what is written to it. An LM75 does not keep the resolution of a TMP75, a TMP102 shows itself by its.
//   - The same number means different chips: the LM75A and LM75B of Texas Instruments have 9 bits, those of NXP 11. The bits below are
//     undefined on some, and masked.
//   - After a loss of power the temperature reads 0 °C until the first conversion. The settings that are made differ from those after a
//     reset, and are read back before and after each measurement. On lm75 and pct2075 that is the length of the fault
//     queue, which has no effect on the temperature but delays the O.S. output by one conversion.
//   - An LM75 begins its conversion anew whenever it is spoken to (SNOS808O, table of characteristics, note 3): read more often than every
//     300 ms, by whomever, it never finishes one. Here it is left alone until it has.
//   - A TMP102 is used in its normal mode, which ends at 127.94 °C, not in the extended one.
package lm75
