// Package ina219 reads TI's INA219: current through a shunt resistor, voltage and power of what it supplies, on I²C.
//
// # Datasheet
//
// SBOS448, revision G (December 2015), at ti.com. Section and table numbers in this package are those of that revision.
//
// # Wiring
//
// VCC to 3.3 V (pin 1; the chip takes 3 to 5.5 V); SDA to GPIO2 (pin 3 of a Raspberry Pi's header), SCL to GPIO3 (pin 5), GND to GND (pin
// 9).
//
// Pads A0 and A1 set the address: open on a board, 0x40; A0 bridged 0x41, A1 bridged 0x44, both 0x45.
//
// The shunt goes into the wire from the supply's plus to the load: VIN+ to the supply, VIN− to the load. The grounds of the supply and of
// the chip must be connected. No pin may see more than 26 V, or less than ground.
//
// The bus is switched on with dtparam=i2c_arm=on in /boot/firmware/config.txt. The Raspberry Pi has pull-up resistors of 1.8 kΩ on it, and
// most boards add theirs, which go to their supply: hence 3.3 V, never 5 V, which the Raspberry Pi's pins do not stand.
//
// # Units
//
//   - voltage_volts: V at the pin IN− against ground (what the load gets), resolution 0.004, range 0..26
//   - current_amperes: A through the shunt, positive from IN+ to IN−, resolution 10 µV / shunt_ohms, range ± shunt_range_volts / shunt_ohms: with
//     0.1 Ω steps of 100 µA up to ±3.2 A
//   - power_watts: W, the product of the two; negative when the current is
//
// # Timing
//
// Each reading is one triggered measurement, after which the chip sleeps. It takes 2 × averages × 586 µs (7.5, maximum): 19 ms for 16
// averages, 150 ms for 128.
//
// # Quirks
//
//   - The chip has no identity. Opening it resets it and wants the reset value back, which a chip of another kind does not give.
//   - The chip cannot know its shunt: with a wrong shunt_ohms the current is wrong by the same factor, and no error tells. Boards print the
//     value on the large resistor: R100 is 0.1 Ω, R010 0.01 Ω.
//   - The calibration register is not used. It is 0 after a loss of power, and the chip's own current and power would then read 0. Current
//     and power are computed from the shunt voltage instead, as 8.5.3 allows. The flag OVF concerns the chip's own arithmetic only, and is
//     of no interest here.
//   - A shunt voltage at the end of its range may be any larger one; it is refused, not reported.
//   - The bus voltage range is always that of 32 V: that of 16 V has the same steps, and ends at 16 V without a word.
//   - The bus voltage register holds two flags in its low bits. The ready flag is cleared by reading the power register; a new trigger alone
//     does so for sure only when it changes the mode (8.6.3.2).
package ina219
