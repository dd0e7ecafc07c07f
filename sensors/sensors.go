// Package sensors says what a sensor driver is, takes readings on a schedule and owns the buses.
//
// A driver knows its chip and nothing of schedules, retries or messages: it takes one measurement when asked, with a
// deadline. A Sampler owns time: one for each configured sensor, none of which can delay another.
//
// # Buses
//
// A Board has one owner for each I²C adapter and each SPI bus, which lets one transaction through at a time, in the order in which they were asked for.
// ParseI2C and ParseSPI say how buses are called. A transaction behind a TCA9548A switches the channel on, does its work and
// switches it off, and nothing comes between: no two chips with one address are ever connected at once.
//
// A caller waits no longer than its context allows, also when the kernel does not return from a transfer. Those behind it are told who is keeping the bus,
// and are served when the kernel has returned; other buses never notice. After ten failures in a row, and when the adapter is gone,
// the device file is closed and opened anew, so that a USB adapter may be unplugged and come back; under another number if it is called by its name.
//
// # A bus that is held low
//
// A chip that was interrupted in the middle of a byte, by a reset of the machine for example, may hold SDA low until it has seen nine clocks or
// lost its power. Programs cannot send these clocks: i2c-dev has no request for it. Some kernel drivers do by themselves when a transfer finds the bus
// occupied (i2c-imx, i2c-designware and i2c-omap, where the device tree lets them drive the pins; the Raspberry Pi's i2c-bcm2835 doesn't). All that is left to a program
// is to say so: after three timeouts in a row the error says what is probably wrong and what to do, which is to take the
// power off the chips. Root can try to bind the adapter anew, which resets the adapter but not the chip: echo NAME to unbind and to bind in
// the folder to which /sys/bus/i2c/devices/i2c-1/../driver leads. This package doesn't: other programs may be using the adapter.
package sensors

import (
	"context"
	"errors"
	"io"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/spi"

	"iotagent/internal/clock"
	"iotagent/internal/quantity"
)

// Errors that drivers wrap, so that a person can be told what to look at.
var (
	// ErrAbsent: nothing answers, or what answers is another chip (wiring, address, overlay).
	ErrAbsent = errors.New("no such sensor")
	// ErrChecksum: the bytes arrived damaged (cable length, noise, power).
	ErrChecksum = errors.New("checksum mismatch")
	// ErrTimeout: the chip or the kernel did not answer in time.
	ErrTimeout = errors.New("timed out")
	// ErrIncomplete comes with samples: they are right, and others that are configured could not be had. What wraps it says which and why.
	ErrIncomplete = errors.New("incomplete")
)

// Sample is one measured quantity.
type Sample struct {
	// Name is lower_snake_case and ends in its unit: "temperature_celsius", "pressure_pascals", "memory_used_bytes".
	Name string
	// Value is finite; a driver that has no value returns an error instead.
	Value float64
}

// Sensor is an opened device. Its methods are called by one goroutine at a time.
type Sensor interface {
	// Read takes one measurement. It returns either every sample or an error; it honours
	// ctx's deadline as far as the kernel lets it, and wraps ErrAbsent, ErrChecksum or ErrTimeout where they apply. Of several independent things, some of
	// which are refused while others are read, it returns the samples of these with an error that wraps ErrIncomplete.
	Read(ctx context.Context) ([]Sample, error)
	// Halt puts the device to its lowest power. It is called once, after the last Read returned.
	Halt() error
	// String names the device and where it is: "bme280@i2c1:0x76".
	String() string
}

// Watcher is a Sensor that notices things between two readings, such as the edges of an input.
type Watcher interface {
	Sensor
	// Events returns what was noticed, in order; the channel is the same at each call. It is closed when Halt returns, and before that when nothing will be
	// noticed any more, because the chip is gone for instance: then the sensor is halted and opened anew, without waiting for its next reading.
	Events() <-chan Event
}

// Event is something that a Watcher noticed. It becomes a reading of its own, an alarm.
type Event struct {
	// At is when it happened, with a monotonic part.
	At time.Time
	// Samples are as those of Read; at least one.
	Samples []Sample
	// Reason says what happened, for a person: "rising edge".
	Reason string
}

// Config is the decoded [[sensor]] table of one driver: a pointer to a struct with toml tags for the driver's own keys.
type Config interface {
	// Validate calls bad for every key whose value cannot be right; key is as written in the file. No I/O.
	Validate(bad func(key, msg string))
	// Open finds the device and checks its identity. Errors wrap ErrAbsent when it is not there (it may come later).
	Open(ctx context.Context, hw Hardware) (Sensor, error)
}

// Watching is a Config whose sensor may be a Watcher. One that watches is opened as soon as it can be: as long as it is not, things happen unnoticed.
type Watching interface {
	Config
	// Watches reports whether the sensor is meant to notice things between two readings.
	Watches() bool
}

// Hardware lends out what is shared between sensors. It is safe for concurrent use.
type Hardware interface {
	// I2C returns the bus of that name (see ParseI2C). Every caller shares the adapter's owner, which lets one transaction through at a time; closing
	// is not the caller's business. Drivers use OpenI2C.
	I2C(name string) (i2c.Bus, error)
	// SPI returns the port of that name, which is a bus and a chip select ("0.1", "SPI0.1", "/dev/spidev0.1"). Drivers use OpenSPI.
	SPI(name string) (spi.Port, error)
	// Input takes a GPIO line as an input, until its Close. The line is named as a technician names it ("GPIO17", "P1_11", "gpiochip0:17",
	// a line's label). It fails when somebody holds the line already, saying who.
	Input(line string, o InputOptions) (Input, error)
	// Shared lends what lies under key, which begins with the driver's type. The first caller's open makes it, without waiting for a
	// device; the last one that gives it back closes it.
	Shared(key string, open func() (io.Closer, error)) (thing io.Closer, giveBack func() error, err error)
	// StateDir is the directory in which a driver may keep a small file over restarts; "" when there is none.
	StateDir() string
	// Root is the directory that holds proc, sys and dev: "/" on a real machine, a fixture tree in tests.
	Root() string
}

// Driver is one kind of sensor as the list in sensors/all names it.
type Driver struct {
	// Type is what `type =` says in the file: "bme280".
	Type string
	// Doc is one line for a person.
	Doc string
	// Sample is a commented, valid [[sensor]] block to start from.
	Sample string
	// New returns a pointer to the driver's configuration struct, holding its defaults.
	New func() Config
	// Addresses are those on I²C that the chip can have, its usual one first; nil for what is not on I²C.
	Addresses []uint16
	// Identify looks whether the chip at one of Addresses is of this kind and returns its name for a person ("BMP280"). An error that wraps
	// ErrAbsent or ErrChecksum rules that out, any other leaves it open. Only a person's scan calls it, and nobody knows what it will meet:
	// it changes nothing in the chip, and a comment on it says why what it sends is harmless to others at these addresses. Nil where nothing in
	// the chip tells.
	Identify func(ctx context.Context, dev *I2CDev) (string, error)
	// Find lists what of this kind the kernel shows on the machine whose sys lies in root, without reading a value. Nil where the kernel does
	// not know.
	Find func(root string) []Found
}

// Found is a sensor that the kernel knows of.
type Found struct {
	// Chip is what the kernel calls it, Device where it is: "ads1115", "1-0048".
	Chip, Device string
	// Channels are what it measures, as the driver's configuration names them.
	Channels []string
	// Config reads it.
	Config Config
}

// Common is what every [[sensor]] table may say beside its driver's own keys.
type Common struct {
	// Name identifies the sensor in messages: letters, digits, '-', '_' and '.', at most 64. Unique in the configuration.
	Name string `toml:"name"`
	// Type selects the driver.
	Type string `toml:"type"`
	// Interval between readings; default 10 s, at least 100 ms.
	Interval quantity.Duration `toml:"interval"`
	// Timeout of one reading, its retries included; default 5 s, or the interval when that is shorter.
	Timeout quantity.Duration `toml:"timeout"`
	// Sampling is what becomes of the readings on their way.
	Sampling
	// Lane of the readings' messages: "normal" (default) or "bulk".
	Lane string `toml:"lane"`
	// Thin says what becomes of readings that wait for the hub when the room gets scarce: "mean" makes one of several, with the
	// smallest, the mean and the largest value, before anything is dropped; "none" (default) keeps each as it is until then.
	Thin string `toml:"thin"`
}

// Quality says how far a reading may be believed.
type Quality string

// The qualities that docs/formats.md lists.
const (
	Good       Quality = "good"
	Partial    Quality = "partial" // what is there is right; what is missing is told by the reason
	Stale      Quality = "stale"
	OutOfRange Quality = "out_of_range"
	Failed     Quality = "error"
)

// Reading is what one measurement gave.
type Reading struct {
	// Sensor is the configured name.
	Sensor string
	// At is when the measurement was started.
	At clock.Stamp
	// Samples is empty when Quality is Failed, and when it is Stale because the read hangs.
	Samples []Sample
	// Quality is never empty; Reason says why it is not Good, for a person.
	Quality Quality
	Reason  string
	// Alarm says that the reading goes at once and is never lost: it is sealed alone, in the alarm lane. Reason says why.
	Alarm bool
	// Over says that what an Alarm tells is the end of one.
	Over bool
	// Window is set on what was made of several readings.
	Window *Window
	// Tags are those of the configuration, in the order of their keys. They are shared: nobody changes them.
	Tags []Tag
}

// Window is what a reading that was made of several says beside its samples.
type Window struct {
	// Span is the time from the start of the first reading, which is the At of the whole, to that of the last.
	Span time.Duration
	// Count is how many readings had values, Failed how many had none.
	Count, Failed int
	// Func is what the samples are of each quantity's values: "mean", "last", "min" or "max".
	Func string
	// More are further functions of the same quantities.
	More []Column
}

// Column is one function of every quantity of a Window.
type Column struct {
	Func    string
	Samples []Sample
}

// Tag is a constant text that each reading of a sensor carries.
type Tag struct{ Key, Value string }
