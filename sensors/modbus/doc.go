// Package modbus reads registers and bits of Modbus units, over TCP or a serial line (RTU).
//
// # Specifications
//
// MODBUS Application Protocol Specification V1.1b3 (functions 1 to 4, exceptions), MODBUS over Serial Line Specification and
// Implementation Guide V1.02, MODBUS Messaging on TCP/IP Implementation Guide V1.0b, all at modbus.org. Which registers a unit has
// is in its maker's manual.
//
// # Units
//
// Each register says its own: the name ends in the unit and scale and offset lead to it. value = raw × scale + offset. A bit, coil or
// discrete input is 0 or 1. Numbers of 64 bits are exact up to 2⁵³.
//
// # Timing
//
// One line, or one TCP connection, carries one request at a time, in the order in which its sensors ask. A reading takes one request
// for each run of neighbouring registers (see batch and max_gap): at 9600 baud 19 ms and 2.3 ms for each register, and the time
// the unit takes to answer. Before each request on a serial line there are 3.5 characters of silence, at least 1.75 ms.
//
// A unit that does not answer costs the others on its line response_timeout, and it is asked less and less often: after one failure not
// before response_timeout has passed again, then after five, ten, twenty of them, at most a minute. In between its readings fail at
// once. One that answered before is asked twice the first time.
//
// # Quirks
//
//   - Addresses are those of the protocol, from 0: what a manual calls register 40108 is table = "holding", address = 107. Manuals that
//     count from 1 are followed with address_base = 1, and those whose protocol addresses begin with a 3 or 4 all the same, such as
//     SunSpec's, with address_base = 0.
//   - There is no rule for the order of the bytes of numbers with more than 16 bits. order says it as manuals do: with A the most
//     significant byte, "ABCD" (big-endian, the default), "CDAB" (words swapped), "BADC" (bytes swapped), "DCBA" (little-endian). With 64 bits they
//     mean the same. A floating-point number below 1e-30 is refused, because that is how a wrong order reads.
//   - Many units have a number that means "no sensor" or "not available": name it in reject. A reading in which some registers
//     have none, or are refused, has the values of the others, with quality "partial" and a reason that names them.
//   - A unit may refuse a request that includes an address it does not have. max_gap is therefore 0 unless the file says otherwise. Neighbours are asked for
//     together all the same, and refused together: batch = 1 asks for each apart.
//   - An answer on a serial line does not say which registers it holds. One that comes after response_timeout is thrown away with
//     the next request, but a unit that is slower than twice response_timeout could pass for the answer to another
//     request to the same unit: choose response_timeout by the slowest.
//   - Adapters that echo what was sent need no setting: the echo is taken out.
//   - Blocks with the same device must have the same baud, parity, stop_bits and rs485.
//
// # Wiring
//
// RS-485: A to A (or D−), B to B (or D+), and the common ground; makers do not agree on the letters, so exchange the two when nothing
// answers. One line without branches, 120 Ω between A and B at both ends, at most 32 unit loads. On a Raspberry Pi use a USB
// adapter (/dev/serial/by-id/… stays the same when it is plugged elsewhere), or a transceiver on the serial port: enable_uart=1 and, for a port without Bluetooth,
// dtoverlay=disable-bt in /boot/firmware/config.txt, then /dev/serial0. A transceiver whose direction is switched by RTS needs
// rs485 = "rts"; a USB adapter does that by itself. The user must be in the group dialout.
package modbus
