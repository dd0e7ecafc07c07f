package config

import (
	"fmt"
	"strings"
	"testing"

	"iotagent/sensors"
)

// fakeMeter has a list of tables, as a device with many registers has.
type fakeMeter struct {
	fakeSensor
	Registers []fakeRegister `toml:"registers"`
}

type fakeRegister struct {
	Name    string `toml:"name"`
	Address *int   `toml:"address"`
}

func (c *fakeMeter) Validate(bad func(key, msg string)) {
	for i, r := range c.Registers {
		if r.Name == "" {
			bad(fmt.Sprintf("registers[%d].name", i), "is missing")
		}
		if r.Address != nil && *r.Address > 9 {
			bad(fmt.Sprintf("registers[%d].address", i), "want at most 9")
		}
	}
}

func TestListOfTables(t *testing.T) {
	const head = "[hub]\nconnection_string_file = \"cs\"\n[[sensor]]\nname = \"m\"\ntype = \"meter\"\n"
	for _, tc := range []struct{ name, text, want string }{
		{"inline", "registers = [\n  { name = \"a\", address = 1 },\n  { name = \"b\" }, # the last\n]\n", ""},
		{"blocks", "[[sensor.registers]]\nname = \"a\"\naddress = 1\n[[sensor.registers]]\nname = \"b\"\n", ""},
		{"nothing", "registers = []\n", ""},
		{
			"unknown key", "registers = [\n  { name = \"a\" },\n  { name = \"b\", adress = 1 },\n]\n",
			`f:8:17: sensor[m].registers[1].adress: unknown key; did you mean "address"?`,
		},
		{
			"misspelled needed key", "registers = [\n  { nam = \"a\" },\n]\n",
			`f:7:5: sensor[m].registers[0].nam: unknown key; did you mean "name"?`,
		},
		{
			"value", "registers = [\n  { name = \"a\" },\n  { name = \"b\", address = 10 },\n]\n",
			`f:8:27: sensor[m].registers[1].address: want at most 9`,
		},
		{
			"missing key", "registers = [\n  { name = \"a\" },\n  { address = 1 },\n]\n",
			`f:8:3: sensor[m].registers[1].name: is missing`,
		},
		{
			"missing key of a block", "[[sensor.registers]]\nname = \"a\"\n[[sensor.registers]]\naddress = 1\n",
			`f:8:10: sensor[m].registers[1].name: is missing`,
		},
		{
			"wrong type", "registers = [\n  { name = \"a\" },\n  { name = \"b\", address = \"1\" },\n]\n",
			`f:8:27: sensor[m].registers[1].address: want a whole number, got text in quotes; leave the quotes out`,
		},
		{"no table", "registers = [\"a\"]\n", `f:6:14: sensor[m].registers[0]: want a table, got text in quotes
f:6:14: sensor[m].registers[0].name: is missing`},
		{"twice", "registers = [{ name = \"a\", name = \"b\" }]\n", `f:6:28: sensor.registers.name: stands here for the second time; the first is at line 6`},
		{"one bracket", "[sensor.registers]\nname = \"a\"\n", `f:6:9: sensor[m].registers: want a list of tables: [{ … }, { … }], or a header with [[two brackets]] for each`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := fakes()
			o.Sensors = []sensors.Driver{{Type: "meter", New: func() sensors.Config { return &fakeMeter{} }}}
			_, err := Parse("f", []byte(head+tc.text), o)
			got := ""
			if err != nil {
				got = strings.TrimSpace(err.Error())
			}
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
