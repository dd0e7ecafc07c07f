// Package digital reads the level of a GPIO input and reports its edges as alarms: a door contact, a float switch, a fault output.
//
// # Sources
//
// The kernel's GPIO character device, version 2: include/uapi/linux/gpio.h and Documentation/userspace-api/gpio. Linux 5.10 or later.
//
// # Units
//
//   - active_state: 1 when the input is active, 0 when it is not; active means high, or low with active_low
//   - suppressed_events_count: edges since the last reading that made no alarm: beyond max_events_per_minute, or lost because the kernel's
//     buffer of 1024 was full. Only with edges
//
// # Timing
//
// A reading asks the kernel for the level, which takes microseconds, on an expander the time of an I²C transfer. An edge is an alarm
// with its own time: the kernel takes it in the interrupt, or with debounce when the level has lasted that long, so that it is later
// than the first contact by the debounce time and the time of bouncing.
//
// # Wiring
//
// A contact between the line and ground, with bias = "pull-up" and active_low = true, needs no other part for cables of a meter
// or so. Longer ones want a resistor of their own, 1 to 10 kΩ from the line to 3.3 V, and 100 nF from the line to ground. The lines of a Raspberry Pi take
// 3.3 V: 5 V destroys them, and 12 or 24 V of a machine need an optocoupler. A pin is named as on the board ("GPIO17"), by its place on
// the 40-pin header ("P1_11"), or by chip and line ("gpiochip1:3" of a port expander).
//
// No overlay is needed for the header's lines. A port expander is switched on with dtoverlay=pcf857x or dtoverlay=mcp23017; edges and
// debounce need its interrupt output wired too.
//
// # Quirks
//
//   - Only the named line is touched, and only its direction: bias "" leaves its pull as it was found.
//   - The kernel debounces: a level counts once it has lasted. Where the chip has no interrupt for the line, debounce = "0s" and edges = "none" still read it.
//   - The bounces of a contact that no debounce hides, or a broken one, are hundreds of edges. max_events_per_minute is how many become
//     alarms: as many at once, then one for each share of a minute. The level of the next reading is right in any case.
//   - Edges that come faster than the kernel serves interrupts, some ten microseconds apart, are one edge, without a trace.
//   - When the chip is unplugged that is told as a failed reading, and the line is opened anew within a minute of its return, however long the interval is.
//     Kernels before 6.4 do not say that a chip is gone: there the next reading finds out.
package digital
