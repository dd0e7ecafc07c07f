package config_test

import (
	"fmt"
	"strings"
	"testing"

	"iotagent/c2d/gpiocmd"
	"iotagent/config"
)

// sensorAt is a [[sensor]] block of four lines.
func sensorAt(name, typ, where string) string {
	return fmt.Sprintf("[[sensor]]\nname = %q\ntype = %q\n%s\n", name, typ, where)
}

func TestTwoSensorsInOnePlace(t *testing.T) {
	const hub = "[hub]\nconnection_string_file = \"cs\"\n" // the first sensor is at line 3, the second at line 7
	tests := map[string]struct {
		first, second string
		want          string // "" when both are right
	}{
		"the same chip, written another way": {
			sensorAt("attic", "bme280", `bus = "1"`), sensorAt("cellar", "bme280", `bus = "/dev/i2c-1"`),
			`10:7: sensor[cellar].bus: i2c1:0x76 is one chip's, and the sensor "attic", at line 3, is there already`,
		},
		"two types": {
			sensorAt("duct", "sht3x", "address = 0x45"), sensorAt("room", "sht4x", "address = 0x45"),
			`10:11: sensor[room].address: i2c1:0x45 is one chip's, and the sensor "duct", at line 3, is there already`,
		},
		"channels of one converter":          {sensorAt("level", "ads1115", ""), sensorAt("flow", "ads1115", ""), ""},
		"other addresses":                    {sensorAt("a", "bme280", ""), sensorAt("b", "bme280", "address = 0x77"), ""},
		"other buses":                        {sensorAt("a", "bme280", ""), sensorAt("b", "bme280", `bus = "3"`), ""},
		"two channels":                       {sensorAt("a", "bme280", `bus = "1/0x70:0"`), sensorAt("b", "bme280", `bus = "1/0x70:1"`), ""},
		"a bus that is none is said as such": {sensorAt("a", "bme280", `bus = "1"`), sensorAt("b", "aht20", `bus = "one"`), `sensor[b].bus: i2c bus "one": want a number`},
		"before a multiplexer": {
			sensorAt("a", "bme280", `bus = "1/0x70:0"`), sensorAt("b", "bme280", `bus = "1"`),
			`sensor[b].bus: i2c1:0x76 and i2c1/0x70:0:0x76 would both answer: a multiplexer does not hide the chips before it, and the sensor "a", at line 3`,
		},
		"one line by two names": {
			sensorAt("door", "digital", `pin = "GPIO17"`), sensorAt("meter", "counter", `pin = "P1_11"`),
			`10:7: sensor[meter].pin: P1_11 has one holder, and the sensor "door", at line 3, is there already`,
		},
		"two lines": {sensorAt("door", "digital", `pin = "GPIO17"`), sensorAt("meter", "counter", `pin = "GPIO27"`), ""},
		"no sensor has a key": {
			sensorAt("a", "bme280", ""), sensorAt("b", "bme280", ""),
			`9:8: sensor[b].type: i2c1:0x76 is one chip's`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("iotagent.toml", []byte(hub+tt.first+tt.second), types())
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("%v, want it to be right", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n")):
				t.Errorf("got  %v\nwant %s alone", err, tt.want)
			}
		})
	}
}

// A line is held by one sensor or output, however it is called.
func TestOneLineTwice(t *testing.T) {
	const (
		hub  = "[hub]\nconnection_string_file = \"cs\"\n"
		lamp = "[[command]]\nname = %q\ntype = \"gpio\"\npin = %q\n"
	)
	door := sensorAt("door", "digital", `pin = "GPIO17"`)
	tests := map[string]struct{ text, want string }{
		"two sensors":          {door + sensorAt("meter", "counter", `pin = "P1_11"`), `10:7: sensor[meter].pin: P1_11 has one holder, and the sensor "door", at line 3, is there already`},
		"a sensor, an output":  {fmt.Sprintf(lamp, "lamp", "GPIO17") + door, `6:7: command[lamp].pin: GPIO17 has one holder, and the sensor "door", at line 7, is there already`},
		"two outputs":          {fmt.Sprintf(lamp, "lamp", "GPIO4") + fmt.Sprintf(lamp, "fan", "GPIO4"), `command[fan].pin: GPIO4 has one holder, and the command "lamp", at line 3`},
		"other lines":          {door + sensorAt("meter", "counter", `pin = "GPIO27"`) + fmt.Sprintf(lamp, "lamp", "GPIO4"), ""},
		"simulated outputs":    {fmt.Sprintf(lamp, "lamp", "sim") + fmt.Sprintf(lamp, "fan", "sim"), ""},
		"a line and a chip":    {door + sensorAt("room", "bme280", ""), ""},
		"no pin is said alone": {door + sensorAt("meter", "counter", ""), `sensor[meter].pin: is missing`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := types()
			o.Commands = append(o.Commands, gpiocmd.Type())
			_, err := config.Parse("iotagent.toml", []byte(hub+tt.text), o)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("%v, want it to be right", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n")):
				t.Errorf("got  %v\nwant %s alone", err, tt.want)
			}
		})
	}
}
