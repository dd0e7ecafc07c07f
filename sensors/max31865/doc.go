// Package max31865 reads platinum resistance thermometers, PT100 and PT1000, through Maxim's MAX31865 on SPI.
//
// # Datasheet
//
// MAX31865, 19-6478, revision 3 of July 2015, at analog.com. The formula is the Callendar–Van Dusen equation with the coefficients of
// IEC 60751:2008, in both directions exact: below 0 °C it is solved by Newton's method.
//
// # Units
//
//   - temperature_celsius: °C, resolution 0.01 (the chip's is 0.03), range −200..850 or as far as the reference resistor allows
//
// # Timing
//
// The thermometer carries current only while it is measured. Each reading switches it on, waits 10 ms, looks for broken wires, waits 10 ms and makes
// one conversion: 55 ms with mains_hz = 60, 66 ms with 50.
//
// # Wiring
//
//   - VDD to 3.3 V (boards have a regulator: VIN), GND to ground
//   - SDI to MOSI, SDO to MISO, CLK to SCLK, CS to a chip select (Raspberry Pi: pins 19, 21, 23 and 24 for "0.0", 26 for "0.1"; switched on with
//     dtparam=spi=on in config.txt)
//   - the thermometer to F+, RTD+, RTD− and F−; boards have jumpers to solder for 2, 3 or 4 wires, and they must agree with the key wires
//   - the reference resistor is four times the thermometer's resistance at 0 °C or a little more: 430 Ω (marked 4300) on boards for PT100, 4300 Ω for
//     PT1000
//
// # Quirks
//
//   - The chip has no identity. It is known by settings that read back as they were written, in each reading.
//   - A wire that broke may leave a plausible value. The chip's own test is run before each conversion, and what it finds is an error that names
//     the wire.
//   - A wrong number of wires is not found out: it shows as an offset of several degrees.
//   - The quadratic formula that is right above 0 °C is wrong by 0.02 °C at −50 and by 2.4 °C at −200. It is not used there.
//   - The kernel's driver for this chip gives 1/32 °C without its offset of −256 °C, and takes the reference resistor for 400 Ω.
package max31865
