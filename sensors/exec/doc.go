// Package execsensor reads numbers that a program of the administrator's prints: for devices that no driver here knows.
//
// # Program
//
// The configuration names the program by its absolute path, with a list of arguments; no shell comes between. It runs anew for each reading and
// prints, on standard output, either one number or one JSON object of numbers:
//
//	21.5
//	{"temperature_celsius": 21.5, "humidity_percent": 45}
//
// and exits with status 0. Any other status makes the reading an error, with the last line of its standard error as the reason.
//
// # Wiring
//
// That of the device. The program runs as the user iotagent, which must be in the group of the device's file (i2c, spi, gpio, dialout), and inside
// the service's sandbox: a device that the unit does not allow needs a DeviceAllow= line (systemctl edit iotagent).
//
// # Units
//
// The names come from the program, or from sample for a lone number. They are in lower case and end in their unit: "temperature_celsius",
// "level_percent". The values are passed on as they are.
//
// # Timing
//
// A reading takes as long as the program, and at most timeout; then its process group gets SIGTERM and 0.1 s later SIGKILL. Starting a
// program takes milliseconds: an interval below a second is dear.
//
// # Quirks
//
//   - It sees nothing of the agent's environment but PATH, HOME, LANG and what env lists, and runs in dir, by default /.
//   - A number must be finite: NaN, as JSON has it not either, is no measurement. A decimal comma is refused, and so are texts, lists
//     and objects within the object.
//   - More than 64 KiB of output is refused, not cut. What a program says on standard error while it succeeds is not kept.
//   - What it leaves running in its process group is killed when it has ended.
//   - A program that anybody may change (mode o+w) is not run.
package execsensor
