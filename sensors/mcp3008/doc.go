// Package mcp3008 reads voltages through Microchip's MCP3008, an analog-to-digital converter with eight inputs on SPI, and its half, the MCP3004.
//
// # Datasheet
//
// MCP3004/3008, DS21295D of 2008, at microchip.com.
//
// # Units
//
//   - ch0_volts … ch7_volts, ch0_ch1_volts …, or as the configuration calls them: V, in 1024 steps from 0 to vref_volts; rounded to 10 µV
//
// # Timing
//
// A conversion takes the time of its transfer, 40 µs. All inputs are read one after the other.
//
// # Wiring
//
//   - VDD and VREF to 3.3 V, AGND and DGND to ground. The key vref_volts is what VREF is at; the 3.3 V of a Raspberry Pi are good to 3 % and noisy, a
//     reference is better
//   - CLK to SCLK, DOUT to MISO, DIN to MOSI, CS/SHDN to a chip select (Raspberry Pi: pins 23, 21, 19 and 24 for "0.0", 26 for "0.1"; switched on with
//     dtparam=spi=on in config.txt)
//   - never more than VDD or less than ground on an input; a source of more than 1 kΩ needs a capacitor of 100 nF from the input to ground. With VDD at
//     5 V, DOUT must not go to a Raspberry Pi without a level shifter
//
// # Quirks
//
//   - The chip has no identity. It sends a bit that is always 0, and each value forwards and, as the clock goes on, backwards (figure 5-2). All are
//     checked, which finds noise, loose wires and other chips.
//   - What is left is a chip that is not there, or has no supply, on a data line that is pulled low: it reads 0 V. When all inputs that are
//     configured read 0, all eight are looked at; when these read 0 as well, that is taken for a missing chip. An input that is open hardly ever reads 0.
//     Where all eight may be at ground, say all_zero = true, or put one that is free to VREF.
//   - 1023 steps mean the reference's voltage or more. Of differences, only positive ones can be seen; negative ones read 0.
//   - The MCP3208, with 12 bits, and the MCP3002 have other frames and are refused.
package mcp3008
