// Package gpiocmd is the command handler that drives one GPIO output: a relay, a lamp, a valve.
//
// # Arguments
//
// Exactly one of {"level":"high"} or {"level":"low"}, {"toggle":true}, and {"pulse":"500ms"}. A toggle goes by our own memory of the
// level: reading an output back is not safe on every chip. A pulse is the opposite of the present level for that time; it must
// be shorter than the command's timeout.
//
// # Safe state
//
// The line has its safe level from the moment it is taken, and again before it is let go. When the process dies the kernel lets the line
// go and the chip decides; the unit's stop hook calls SetSafe then. A relay board's idle level is the best safe level.
//
// # Pins
//
// A pin is a line's name ("GPIO17"), a pin of a Raspberry Pi's header ("P1_11"), a chip and a line on it ("gpiochip0:17",
// "pinctrl-bcm2835:GPIO17"), or "sim", which is no hardware: its level shows in the status and in the log.
package gpiocmd
