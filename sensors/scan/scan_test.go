package scan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iotagent/internal/golden"
	"iotagent/internal/gpioline"
	"iotagent/sensors"
	"iotagent/sensors/all"
	"iotagent/sensors/scan"
	"iotagent/sensors/sensortest"
)

var update = golden.Update() //nolint:gochecknoglobals // a flag

// tree is a machine of files and links.
func tree(t *testing.T, files, links map[string]string) *sensortest.Machine {
	t.Helper()
	m := sensortest.Tree(t, files)
	for name, to := range links {
		path := filepath.Join(m.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// pi is a Raspberry Pi with something of everything.
func pi(t *testing.T) *sensortest.Machine {
	m := tree(t, map[string]string{
		"proc/device-tree/model":                                 "Raspberry Pi 4 Model B Rev 1.5\x00",
		"dev/i2c-1":                                              "",
		"dev/i2c-20":                                             "",
		"sys/bus/i2c/devices/i2c-1/name":                         "bcm2835 (i2c@7e804000)\n",
		"sys/bus/i2c/devices/i2c-20/name":                        "fef04500.i2c\n",
		"sys/devices/i2c-1/1-0049/name":                          "ads1115\n",
		"sys/devices/i2c-1/1-004a/name":                          "tmp75\n",
		"sys/devices/w1_bus_master1/28-0316a2794bff/w1_slave":    "",
		"sys/devices/w1_bus_master1/26-000001b5a8f2/id":          "",
		"sys/devices/i2c-1/1-0049/iio:device0/name":              "ads1115\n",
		"sys/devices/i2c-1/1-0049/iio:device0/in_voltage0_raw":   "1\n",
		"sys/devices/i2c-1/1-0049/iio:device0/in_voltage0_scale": "1\n",
		"sys/devices/i2c-1/1-004a/hwmon/hwmon1/name":             "tmp75\n",
		"sys/devices/i2c-1/1-004a/hwmon/hwmon1/temp1_input":      "21500\n",
		"sys/devices/thermal/hwmon/hwmon0/name":                  "cpu_thermal\n",
		"sys/devices/thermal/hwmon/hwmon0/temp1_input":           "48000\n",
		"dev/spidev0.1":                                          "",
		"dev/ttyAMA0":                                            "",
		"dev/ttyS0":                                              "",
		"dev/ttyS1":                                              "",
		"dev/ttyUSB0":                                            "",
		"sys/class/tty/ttyS0/type":                               "4\n",
		"sys/class/tty/ttyS1/type":                               "0\n",
		"sys/class/tty/console/active":                           "tty1 ttyAMA0\n",
		"dev/gpiochip0":                                          "",
		"dev/gpiochip1":                                          "",
		"sys/devices/spi0/spi0.0/modalias":                       "spi:max31865\n",
	}, map[string]string{
		"sys/bus/i2c/devices/1-0049":                   "../../../devices/i2c-1/1-0049",
		"sys/bus/i2c/devices/1-004a":                   "../../../devices/i2c-1/1-004a",
		"sys/devices/i2c-1/1-0049/driver":              "../../../bus/i2c/drivers/ads1015",
		"sys/devices/i2c-1/1-004a/driver":              "../../../bus/i2c/drivers/lm75",
		"sys/bus/w1/devices/w1_bus_master1":            "../../../devices/w1_bus_master1",
		"sys/bus/w1/devices/28-0316a2794bff":           "../../../devices/w1_bus_master1/28-0316a2794bff",
		"sys/bus/w1/devices/26-000001b5a8f2":           "../../../devices/w1_bus_master1/26-000001b5a8f2",
		"sys/bus/iio/devices/iio:device0":              "../../../devices/i2c-1/1-0049/iio:device0",
		"sys/class/hwmon/hwmon1":                       "../../devices/i2c-1/1-004a/hwmon/hwmon1",
		"sys/devices/i2c-1/1-004a/hwmon/hwmon1/device": "../../../1-004a",
		"sys/class/hwmon/hwmon0":                       "../../devices/thermal/hwmon/hwmon0",
		"sys/bus/spi/devices/spi0.0":                   "../../../devices/spi0/spi0.0",
		"sys/devices/spi0/spi0.0/driver":               "../../../bus/spi/drivers/max31865",
		"dev/serial/by-id/usb-FTDI_RS485_A1-if00":      "../../ttyUSB0",
	})
	m.Bus = &bus{chips: map[uint16]func(w, r []byte) error{
		0x23: registers(nil),
		0x44: talks([]byte{0x89}, words(0x1234, 0x5678)),
		0x76: registers(map[byte][]byte{0xd0: {0x60}}),
	}}
	return m
}

func piChip(path string) (gpioline.Chip, error) {
	if strings.HasSuffix(path, "1") {
		return gpioline.Chip{}, fmt.Errorf("%s: %w", path, fs.ErrPermission)
	}
	c := gpioline.Chip{Path: path, Name: "gpiochip0", Label: "pinctrl-bcm2711"}
	for i := range uint32(32) {
		l := gpioline.Info{Offset: i}
		if i < 28 {
			l.Name = fmt.Sprintf("GPIO%d", i)
		}
		if i == 4 {
			l.Flags, l.Consumer = gpioline.FlagUsed, "onewire@0"
		}
		c.Lines = append(c.Lines, l)
	}
	return c, nil
}

func piReport(t *testing.T) *scan.Report {
	return look(t, pi(t), func(o *scan.Options) { o.ReadChip, o.Drivers = piChip, firstDrivers() })
}

// firstDrivers are some that do not change: others that come to be are no reason for another golden file.
func firstDrivers() []sensors.Driver {
	var some []sensors.Driver
	for _, d := range all.Drivers() {
		if strings.Contains(" ads1115 aht20 bh1750 bme280 bmp388 counter digital ds18b20 hwmon iio ina219 ina226 lm75 max31855 mcp9808 modbus sht3x sht4x ", " "+d.Type+" ") {
			some = append(some, d)
		}
	}
	return some
}

func TestScanFormat(t *testing.T) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(piReport(t)); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "../../docs/formats/scan.json", b.Bytes(), *update)
}

func TestAnEmptyMachine(t *testing.T) {
	r := look(t, tree(t, nil, nil), nil)
	want := &scan.Report{
		I2C: []scan.Bus{}, OneWire: []scan.OneWire{}, Kernel: []scan.Measured{}, SPI: []scan.Port{}, Serial: []scan.Port{}, GPIO: []scan.GPIOChip{},
		Advice: []string{"i2c: this machine has no bus; an adapter on USB or the board's overlay makes one, and sudo modprobe i2c-dev shows it"},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAdvice(t *testing.T) {
	const model = "proc/device-tree/model"
	for name, tt := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"a pi with nothing on": {
			map[string]string{model: "Raspberry Pi 5\x00"},
			[]string{
				"add dtparam=i2c_arm=on to /boot/firmware/config.txt and reboot (or: sudo raspi-config nonint do_i2c 0)",
				"add dtoverlay=w1-gpio to /boot/firmware/config.txt", "add dtparam=spi=on to /boot/firmware/config.txt",
			},
		},
		"an old pi":     {map[string]string{model: "Raspberry Pi 3\x00", "boot/config.txt": ""}, []string{"add dtparam=i2c_arm=on to /boot/config.txt", "w1", "spi"}},
		"no i2c-dev":    {map[string]string{"sys/bus/i2c/devices/i2c-1/name": "x"}, []string{"sudo modprobe i2c-dev; for every boot"}},
		"an empty w1":   {map[string]string{"dev/i2c-1": "", "sys/bus/w1/devices/w1_bus_master1/x": ""}, []string{"4.7 kΩ"}},
		"a pi in order": {map[string]string{model: "Raspberry Pi", "dev/i2c-1": "", "dev/spidev0.0": "", "sys/bus/w1/devices/28-0316a2794bff/x": ""}, nil},
		"not a pi":      {map[string]string{model: "Radxa ROCK", "dev/i2c-1": ""}, nil},
	} {
		m := tree(t, tt.files, nil)
		m.Bus = &bus{}
		got := look(t, m, nil).Advice
		if len(got) != len(tt.want) {
			t.Errorf("%s: %q", name, got)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%s: %q does not say %q", name, got[i], want)
			}
		}
	}
}

func TestMissingGroupsAreNamedTogether(t *testing.T) {
	m := tree(t, map[string]string{"dev/i2c-1": "", "dev/spidev0.0": "", "dev/spidev0.1": "", "dev/ttyUSB0": "", "dev/gpiochip0": ""}, nil)
	m.Bus = &bus{every: func(_, _ []byte) error { return &fs.PathError{Op: "open", Path: "/dev/i2c-1", Err: fs.ErrPermission} }}
	r := look(t, m, func(o *scan.Options) {
		o.Usable = func(string) error { return fs.ErrPermission }
		o.ReadChip = func(string) (gpioline.Chip, error) { return gpioline.Chip{}, fs.ErrPermission }
	})
	want := []string{"not everything could be looked at: sudo usermod -aG dialout,gpio,i2c,spi pi, then log in again; or run the scan with sudo " +
		"(the service's own user: sudo usermod -aG dialout,gpio,i2c,spi iotagent)"}
	if diff := cmp.Diff(want, r.Advice); diff != "" {
		t.Error(diff)
	}
	if r.SPI[0].Note != "this user may not open it" || r.Serial[0].Note == "" || r.GPIO[0].Problem != "this user may not open it" {
		t.Errorf("%+v %+v %+v", r.SPI, r.Serial, r.GPIO)
	}
}

func TestAGPIOChipThatFails(t *testing.T) {
	m := tree(t, map[string]string{"dev/gpiochip0": ""}, nil)
	r := look(t, m, func(o *scan.Options) {
		o.ReadChip = func(string) (gpioline.Chip, error) { return gpioline.Chip{}, errors.New("too old") }
	})
	if len(r.GPIO) != 1 || r.GPIO[0].Problem != "too old" || r.GPIO[0].Name != "gpiochip0" {
		t.Errorf("%+v", r.GPIO)
	}
	// Without a hook the kernel is asked, which knows that an empty file is no chip.
	if r = look(t, m, nil); len(r.GPIO) != 1 || !strings.Contains(r.GPIO[0].Problem, "not a GPIO chip") {
		t.Errorf("%+v", r.GPIO)
	}
}
