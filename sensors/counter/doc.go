// Package counter counts the pulses of a GPIO input and keeps their total over restarts: a water, gas or energy meter, a rain gauge, a
// turnstile.
//
// # Sources
//
// The kernel's GPIO character device, version 2: include/uapi/linux/gpio.h and Documentation/userspace-api/gpio. Linux 5.10 or later.
//
// # Units
//
//   - pulses_count: the total: initial, and scale for each pulse since counting began; total_name is another name for it
//   - rate_hertz: pulses × scale per second since the last reading; rate_name is another name for it. The first reading after a start has none
//   - total_uncertain: how often pulses may have gone missing from the total without being counted, see below. 0 means that every pulse that
//     came while the agent ran is in it
//
// The rate goes by the kernel's times of the pulses where the reading before saw one as well: pulses by the time from its last to the
// last of now. It is 0 where no pulse came since the last reading, so the interval should be longer than the slowest pulses are apart.
//
// # Timing
//
// A reading takes microseconds. Edges are numbered by the kernel: those that its buffer of 1024 had no room for are missing in the
// numbers and are counted all the same. Edges that come faster than the kernel serves interrupts, some ten microseconds apart, are one
// edge, without a trace; debounce makes one of all edges that come closer than that.
//
// # Total
//
// The total stands in counters/PIN.json in the state directory, under the pin's name as configured: a pin that is named in another way
// begins anew. It is written when the first pulse comes after a quiet time, each save_interval while pulses come, once when they have
// ceased, and at the stop; each time as a whole, and synced. A counter at rest writes nothing.
//
//   - Pulses that come while the agent does not run are not counted, and nobody can say how many they were.
//   - After a power cut or a crash the pulses since the last write are missing, at most those of save_interval. The file says whether
//     pulses may be: then total_uncertain goes up by one, and an alarm says so.
//   - A file that is damaged is set aside as PIN.json.damaged; the total begins at initial again. total_uncertain goes up, and an alarm says so.
//   - While the file cannot be written the total is right until the agent ends. total_uncertain goes up, and an alarm says so.
//   - Without a state directory the total is that since the line was taken.
//
// One process counts: iotagent read, beside the service, is told that the line is held, and neither counts nor writes. To begin anew, stop
// the service and remove the file.
//
// # Wiring
//
// A reed contact or an open collector (S0 output: its minus to ground) between the line and ground, with bias = "pull-up", active_low = true
// and edge = "rising", which is the closing of the contact then. Cables of more than a meter or so want a resistor of their own, 1 to 10 kΩ from the
// line to 3.3 V, and 100 nF from the line to ground. The lines of a Raspberry Pi take 3.3 V: 5 V destroys them, and 12 or 24 V need an optocoupler. The pin is
// named as on the board ("GPIO17"), by its place on the 40-pin header ("P1_11"), or by chip and line ("gpiochip1:3" of a port
// expander, whose interrupt output must be wired).
//
// No overlay is needed for the header's lines.
//
// # Quirks
//
//   - Reed contacts bounce for a millisecond or two: debounce must be longer, and shorter than half a pulse. At its default of 5 ms up to some 50 pulses a second are counted.
//   - Only the named line is touched, and only its direction: bias "" leaves its pull as it was found.
//   - When the chip is unplugged that is told as a failed reading, and the line is opened anew within a minute of its return, however long the interval is
//     (kernels before 6.4 do not say that a chip is gone: there the next reading finds out). The total goes on; total_uncertain goes up, and an alarm says so,
//     because pulses in between were not seen.
package counter
