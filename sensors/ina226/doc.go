// Package ina226 reads TI's INA226: current through a shunt resistor, voltage and power of what it supplies, on I²C.
//
// # Datasheet
//
// SBOS547, revision B (September 2024), at ti.com. Section and table numbers in this package are those of that revision.
//
// # Wiring
//
// VCC to 3.3 V (pin 1; the chip takes 2.7 to 5.5 V); SDA to GPIO2 (pin 3 of a Raspberry Pi's header), SCL to GPIO3 (pin 5), GND to GND
// (pin 9).
//
// Pads A0 and A1 set the address: both at ground, 0x40. ALERT stays open.
//
// The shunt goes into the wire from the supply's plus to the load: IN+ to the supply, IN− to the load, and VBUS to the place whose voltage
// is wanted, usually IN−. The grounds of the supply and of the chip must be connected. No pin may see more than 36 V, or less than ground.
//
// The bus is switched on with dtparam=i2c_arm=on in /boot/firmware/config.txt. The Raspberry Pi has pull-up resistors of 1.8 kΩ on it, and
// most boards add theirs, which go to their supply: hence 3.3 V, never 5 V, which the Raspberry Pi's pins do not stand.
//
// # Units
//
//   - voltage_volts: V at the pin VBUS against ground, resolution 0.00125, range 0..36
//   - current_amperes: A through the shunt, positive from IN+ to IN−, resolution 2.5 µV / shunt_ohms, range ±81.92 mV / shunt_ohms: with 0.1 Ω
//     steps of 25 µA up to ±0.819 A, with 0.01 Ω 250 µA and ±8.19 A
//   - power_watts: W, the product of the two; negative when the current is
//
// # Timing
//
// Each reading is one triggered measurement, after which the chip sleeps. It takes 2 × averages × 1.21 ms (5.5, maximum):
// 39 ms for 16 averages, 2.5 s for 1024.
//
// # Quirks
//
//   - The chip cannot know its shunt: with a wrong shunt_ohms the current is wrong by the same factor, and no error tells. Boards print the
//     value on the large resistor: R100 is 0.1 Ω, R010 0.01 Ω, R002 0.002 Ω.
//   - The calibration register is not used. It is 0 after a loss of power, and the chip's own current and power would then read 0. Current
//     and power are computed from the shunt voltage instead, as 6.5.3 allows.
//   - A shunt voltage at the end of the register's range may be any larger one; it is refused, not reported.
//   - Many boards leave VBUS open: it has to be wired to the supply that is measured, or the voltage reads near 0.
//   - Unlike in the INA219, the bus voltage register holds no flags and is not shifted.
//   - The INA230 and INA231 have the same registers, but no identity; they are refused.
package ina226
