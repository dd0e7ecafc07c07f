package modbus

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"iotagent/config"
	"iotagent/sensors"
)

// parse reads a block of this type as iotagent does.
func parse(text string) (*Config, error) {
	const hub = "[hub]\nconnection_string_file = \"cs\"\n[[sensor]]\nname = \"m\"\ntype = \"modbus\"\n"
	f, err := config.Parse("f", []byte(hub+text), &config.Options{Sensors: []sensors.Driver{Driver()}})
	if err != nil {
		return nil, err
	}
	return f.Sensors[0].Config.(*Config), nil
}

// serialSample has the keys that do not go with the host of sample.toml.
const serialSample = `device = "/dev/ttyUSB0"
baud = 9600
parity = "none"
stop_bits = 2
rs485 = "rts"
unit = 247
[[sensor.registers]]
name = "flow_ratio"
table = "holding"
address = 0x6B
`

func TestConfigurations(t *testing.T) {
	c, err := parse(serialSample)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.address()
	if want := (address{device: "/dev/ttyUSB0", baud: 9600, parity: "none", stopBits: 2, rs485: "rts"}); a != want || err != nil {
		t.Errorf("got %+v, %v; want %+v", a, err, want)
	}
	if r := c.Registers[0]; r.Name != "flow_ratio" || *r.Address != 107 || c.Unit != 247 {
		t.Errorf("got %+v", c)
	}
	for host, want := range map[string]string{
		"192.168.1.20": "192.168.1.20:502", "meter.local:1502": "meter.local:1502", "fe80::1": "[fe80::1]:502", "[fe80::1]:1502": "[fe80::1]:1502",
	} {
		if got, err := hostPort(host); got != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", host, got, err, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	const host = "host = \"h\"\n"
	regs := func(text string) string { return host + "registers = [ { " + text + " } ]\n" }
	for _, tc := range []struct{ text, want string }{
		{"registers = [{ name = \"a\", table = \"coil\", address = 1 }]\n", `f:3:3: sensor[m].host: is missing; say where the unit is: host = "192.168.1.20:502", or device = "/dev/ttyUSB0" for a serial line`},
		{host, `f:3:3: sensor[m].registers: is missing; name at least one, such as { name = "voltage_volts", table = "input", address = 0 }`},
		{host + serialSample, `f:7:10: sensor[m].device: is for a serial line and host for TCP: take one of them out`},
		{strings.Replace(serialSample, "/dev/", "", 1), `f:6:10: sensor[m].device: want a path such as "/dev/ttyUSB0", got "ttyUSB0"`},
		{strings.Replace(serialSample, "9600", "96", 1), `f:7:8: sensor[m].baud: want 300 to 4000000, got 96`},
		{strings.Replace(serialSample, "none", "mark", 1), `f:8:10: sensor[m].parity: want "none", "even" or "odd", got "mark"`},
		{strings.Replace(serialSample, "stop_bits = 2", "stop_bits = 3", 1), `f:9:13: sensor[m].stop_bits: want 1 or 2, got 3`},
		{strings.Replace(serialSample, "\"rts\"", "\"on\"", 1), `f:10:9: sensor[m].rs485: want "off", "rts" or "rts-inverted", got "on"`},
		{strings.Replace(serialSample, "247", "248", 1), `f:11:8: sensor[m].unit: want 1 to 247, got 248`},
		{"unit = 256\n" + regs(`name = "a", table = "coil", address = 1`), `f:6:8: sensor[m].unit: want 0 to 255, got 256`},
		{"address_base = 2\n" + regs(`name = "a", table = "coil", address = 9`), `f:6:16: sensor[m].address_base: want 0 or 1, got 2`},
		{"batch = 126\n" + regs(`name = "a", table = "coil", address = 1`), `f:6:9: sensor[m].batch: want 1 to 125, got 126`},
		{"max_gap = 125\n" + regs(`name = "a", table = "coil", address = 1`), `f:6:11: sensor[m].max_gap: want 0 to 124, got 125`},
		{"response_timeout = \"5ms\"\n" + regs(`name = "a", table = "coil", address = 1`), `f:6:20: sensor[m].response_timeout: want 10ms to 1m, got 5ms`},
		{"request_gap = \"11s\"\n" + regs(`name = "a", table = "coil", address = 1`), `f:6:15: sensor[m].request_gap: want at most 10s, got 11s`},
		{"host = \"tcp://h:502\"\n" + "registers = [{ name = \"a\", table = \"coil\", address = 1 }]\n", `f:6:8: sensor[m].host: want a host with or without a port, such as "192.168.1.20" or "meter.local:502", got "tcp://h:502"`},
		{"batch = 1\n" + regs(`name = "a", table = "input", address = 1, type = "int32"`), `f:8:66: sensor[m].registers[0].type: int32 takes 2 registers, and batch is 1`},

		{regs(`table = "coil", address = 1`), `f:7:15: sensor[m].registers[0].name: is missing; it is lower_snake_case and ends in the unit of measure, such as "voltage_volts"`},
		{regs(`name = "A b", table = "coil", address = 1`), `f:7:24: sensor[m].registers[0].name: want at most 64 small letters, digits and "_", such as "voltage_volts", got "A b"`},
		{regs(`name = "a", table = "coil", address = 1 }, { name = "a", table = "coil", address = 2`), `f:7:69: sensor[m].registers[1].name: "a" stands twice`},
		{regs(`name = "a", address = 1`), `f:7:15: sensor[m].registers[0].table: is missing: "coil", "discrete", "holding" or "input"`},
		{regs(`name = "a", table = "holdings", address = 1`), `f:7:37: sensor[m].registers[0].table: want "coil", "discrete", "holding" or "input", got "holdings"`},
		{regs(`name = "a", table = "coil"`), `f:7:15: sensor[m].registers[0].address: is missing`},
		{regs(`name = "a", table = "coil", address = -1`), `f:7:55: sensor[m].registers[0].address: want 0 to 65535, got -1`},
		{regs(`name = "a", table = "input", address = 65535, type = "uint32"`), `f:7:56: sensor[m].registers[0].address: want 0 to 65534, got 65535`},
		{"address_base = 1\n" + regs(`name = "a", table = "input", address = 0`), `f:8:56: sensor[m].registers[0].address: want 1 to 65536, got 0`},
		{regs(`name = "a", table = "holding", address = 40108`), `f:7:58: sensor[m].registers[0].address: want the address without the digit of its table: what a manual calls register 40108 is address = 107; where 40108 is what goes over the wire, say address_base = 0`},
		{"address_base = 1\n" + regs(`name = "a", table = "input", address = 30001`), `f:8:56: sensor[m].registers[0].address: want the address without the digit of its table: what a manual calls register 30001 is address = 1; where 30001 is what goes over the wire, say address_base = 0`},
		{"address_base = 0\n" + regs(`name = "a", table = "holding", address = 400108`), `f:8:58: sensor[m].registers[0].address: want the address without the digit of its table: what a manual calls register 400108 is address = 107`},
		{"address_base = 0\n" + regs(`name = "a", table = "holding", address = 40069`), ``},
		{regs(`name = "a", table = "input", address = 40108`), ``},
		{regs(`name = "a", table = "input", address = 1, type = "float"`), `f:7:66: sensor[m].registers[0].type: want one of uint16, int16, uint32, int32, uint64, int64, float32, float64, bit, got "float"`},
		{regs(`name = "a", table = "coil", address = 1, type = "int16"`), `f:7:65: sensor[m].registers[0].type: a coil is a bit, got "int16"; numbers are in the tables holding and input`},
		{regs(`name = "a", table = "input", address = 1, bit = 3`), `f:7:65: sensor[m].registers[0].bit: is for type = "bit" in the tables holding and input`},
		{regs(`name = "a", table = "input", address = 1, type = "bit", bit = 16`), `f:7:79: sensor[m].registers[0].bit: want 0 to 15, got 16`},
		{regs(`name = "a", table = "input", address = 1, order = "big"`), `f:7:67: sensor[m].registers[0].order: want "ABCD" (big-endian, the default), "CDAB" (words swapped), "BADC" (bytes swapped) or "DCBA" (little-endian), got "big"`},
		{regs(`name = "a", table = "input", address = 1, scale = 0`), `f:7:67: sensor[m].registers[0].scale: 0 would make every value the same`},
		{regs(`name = "a", table = "coil", address = 1, scale = 2`), `f:7:66: sensor[m].registers[0].scale: a bit is 0 or 1`},
		{regs(`name = "a", table = "coil", address = 1, offset = 2`), `f:7:67: sensor[m].registers[0].offset: a bit is 0 or 1`},
		{regs(`name = "a", table = "coil", address = 1, reject = [2]`), `f:7:67: sensor[m].registers[0].reject: a bit has no number to spare`},
		{regs(`name = "a", table = "coil", adress = 1`), `f:7:45: sensor[m].registers[0].adress: unknown key; did you mean "address"?`},
		{"adress_base = 1\n" + regs(`name = "a", table = "coil", address = 1`), `f:6:1: sensor[m].adress_base: unknown key; did you mean "address_base"?`},
	} {
		_, err := parse(tc.text)
		got := ""
		if err != nil {
			got = strings.TrimSpace(fmt.Sprint(err))
		}
		if got != tc.want {
			t.Errorf("%s\ngot  %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

// The sample is a whole configuration, too.
func TestSampleParses(t *testing.T) {
	_, text, _ := strings.Cut(sample, "type = \"modbus\"\n")
	c, err := parse(text)
	if err != nil || len(c.Registers) != 4 || len(plan(c.Registers, nil, c.Batch, c.MaxGap)) != 3 {
		t.Errorf("got %+v, %v", c, err)
	}
	var errs config.Errors
	if _, err := parse(strings.Replace(text, "scale = 0.1", "scael = 0.1", 1)); !errors.As(err, &errs) || len(errs) != 1 {
		t.Errorf("misspelled: %v", err)
	}
}
