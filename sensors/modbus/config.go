package modbus

import (
	"context"
	_ "embed" // for the sample configuration
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"iotagent/internal/quantity"
	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "modbus",
		Doc:    "Modbus unit over TCP or a serial line: coils, discrete inputs, holding and input registers",
		Sample: sample,
		New: func() sensors.Config {
			return &Config{
				Unit: 1, Baud: 19200, Parity: "even", StopBits: 1, RS485: "off",
				Batch: maxRegisters, ResponseTimeout: quantity.Seconds(1),
			}
		},
	}
}

// Config is the driver's part of a [[sensor]] table: one unit. Host or Device is set.
type Config struct {
	// Host is a Modbus TCP server, "192.168.1.20" or "meter.local:502".
	Host string `toml:"host"`
	// Device is a serial port, "/dev/ttyUSB0".
	Device string `toml:"device"`
	// Baud, Parity ("none", "even", "odd") and StopBits (1 or 2) are those of the serial line; default 19200, even, 1, as the specification has it.
	Baud     int    `toml:"baud"`
	Parity   string `toml:"parity"`
	StopBits int    `toml:"stop_bits"`
	// RS485 is "off" (default), or "rts" or "rts-inverted" to have the kernel switch the transceiver with the RTS line.
	RS485 string `toml:"rs485"`
	// Unit is the unit's address, 1 to 247, or 0 to 255 over TCP. Default 1.
	Unit int `toml:"unit"`
	// AddressBase is the address that the manual gives the first register, 0 or 1. Nil is 0 and refuses addresses such as 40001.
	AddressBase *int `toml:"address_base"`
	// Batch is how many registers one request may ask for, 1 to 125; of bits 16 times as many. Default 125.
	Batch int `toml:"batch"`
	// MaxGap is how many registers that nobody wants may be read to save a request. Default 0.
	MaxGap int `toml:"max_gap"`
	// ResponseTimeout is how long the unit may take to begin its answer; default 1 s.
	ResponseTimeout quantity.Duration `toml:"response_timeout"`
	// RequestGap is the least time between the end of an answer and the next request; default 0.
	RequestGap quantity.Duration `toml:"request_gap"`
	// Registers are what to read; at least one.
	Registers []Register `toml:"registers"`

	ports ports // how to open a connection; tests have their own
}

var _ sensors.Config = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	switch {
	case c.Host == "" && c.Device == "":
		bad("host", `is missing; say where the unit is: host = "192.168.1.20:502", or device = "/dev/ttyUSB0" for a serial line`)
	case c.Host != "" && c.Device != "":
		bad("device", "is for a serial line and host for TCP: take one of them out")
	case c.Host != "":
		if _, err := hostPort(c.Host); err != nil {
			bad("host", err.Error())
		}
	case !filepath.IsAbs(c.Device):
		bad("device", fmt.Sprintf("want a path such as \"/dev/ttyUSB0\", got %q", c.Device))
	}
	c.checkSerial(bad)
	c.checkRequests(bad)
	if len(c.Registers) == 0 {
		bad("registers", `is missing; name at least one, such as { name = "voltage_volts", table = "input", address = 0 }`)
	}
	names := map[string]bool{}
	for i := range c.Registers {
		r := &c.Registers[i]
		inList := func(key, msg string) { bad(fmt.Sprintf("registers[%d].%s", i, key), msg) }
		r.validate(inList, c.AddressBase)
		if names[r.Name] && r.Name != "" {
			inList("name", fmt.Sprintf("%q stands twice", r.Name))
		}
		names[r.Name] = true
		if n := r.count(); !r.isBit() && n > c.Batch && c.Batch > 0 {
			inList("type", fmt.Sprintf("%s takes %d registers, and batch is %d", r.Type, n, c.Batch))
		}
	}
}

func (c *Config) checkSerial(bad func(key, msg string)) {
	const slowest, fastest = 300, 4_000_000
	if c.Baud < slowest || c.Baud > fastest {
		bad("baud", fmt.Sprintf("want %d to %d, got %d", slowest, fastest, c.Baud))
	}
	if !slices.Contains([]string{"none", "even", "odd"}, c.Parity) {
		bad("parity", fmt.Sprintf(`want "none", "even" or "odd", got %q`, c.Parity))
	}
	if c.StopBits != 1 && c.StopBits != 2 {
		bad("stop_bits", fmt.Sprintf("want 1 or 2, got %d", c.StopBits))
	}
	if !slices.Contains([]string{"off", "rts", "rts-inverted"}, c.RS485) {
		bad("rs485", fmt.Sprintf(`want "off", "rts" or "rts-inverted", got %q`, c.RS485))
	}
}

func (c *Config) checkRequests(bad func(key, msg string)) {
	switch {
	case c.Device != "" && (c.Unit < 1 || c.Unit > 247):
		bad("unit", fmt.Sprintf("want 1 to 247, got %d", c.Unit))
	case c.Unit < 0 || c.Unit > 255:
		bad("unit", fmt.Sprintf("want 0 to 255, got %d", c.Unit))
	}
	if c.AddressBase != nil && *c.AddressBase != 0 && *c.AddressBase != 1 {
		bad("address_base", fmt.Sprintf("want 0 or 1, got %d", *c.AddressBase))
	}
	if c.Batch < 1 || c.Batch > maxRegisters {
		bad("batch", fmt.Sprintf("want 1 to %d, got %d", maxRegisters, c.Batch))
	}
	if c.MaxGap < 0 || c.MaxGap >= maxRegisters {
		bad("max_gap", fmt.Sprintf("want 0 to %d, got %d", maxRegisters-1, c.MaxGap))
	}
	if d := c.ResponseTimeout; d.Problem() == "" && (d.Duration < 10*time.Millisecond || d.Duration > time.Minute) {
		bad("response_timeout", fmt.Sprintf("want 10ms to 1m, got %v", d))
	}
	if d := c.RequestGap; d.Problem() == "" && d.Duration > 10*time.Second {
		bad("request_gap", fmt.Sprintf("want at most 10s, got %v", d))
	}
}

// hostPort completes a host by the port of Modbus.
func hostPort(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil && (!strings.Contains(s, ":") || net.ParseIP(s) != nil) {
		host, port, err = s, "502", nil
	}
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@ \t") {
		return "", fmt.Errorf("want a host with or without a port, such as \"192.168.1.20\" or \"meter.local:502\", got %q", s)
	}
	return net.JoinHostPort(host, port), nil
}

// address is where a line is and how it is set.
type address struct {
	host, device   string
	baud, stopBits int
	parity, rs485  string
}

// String names the line, without its settings.
func (a address) String() string { return a.host + a.device }

func (c *Config) address() (address, error) {
	if c.Host != "" {
		host, err := hostPort(c.Host)
		return address{host: host}, err
	}
	return address{device: filepath.Clean(c.Device), baud: c.Baud, stopBits: c.StopBits, parity: c.Parity, rs485: c.RS485}, nil
}

// Open takes the unit's line, which it shares with other sensors. It sends nothing: a unit has no identity that could be checked.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("modbus: %w", err)
	}
	a, err := c.address()
	if err != nil {
		return nil, fmt.Errorf("modbus: %w", err)
	}
	thing, giveBack, err := hw.Shared("modbus "+a.String(), func() (io.Closer, error) {
		return newLine(ctx, a, c.ports.orReal(hw.Root())), nil
	})
	if err != nil {
		return nil, fmt.Errorf("modbus: %w", err)
	}
	d := &device{unit: byte(c.Unit), within: c.ResponseTimeout.Duration, gap: c.RequestGap.Duration, giveBack: giveBack}
	d.registers, d.blocks = c.Registers, plan(c.Registers, c.AddressBase, c.Batch, c.MaxGap)
	l, ok := thing.(*line)
	if !ok || l.addr != a {
		_ = giveBack() // the other sensor has it still
		return nil, fmt.Errorf("modbus: %s is in use by another sensor with other settings: baud, parity, stop_bits and rs485 must be the same", a)
	}
	d.line = l
	return d, nil
}
