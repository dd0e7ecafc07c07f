package hwmon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

const class = "sys/class/hwmon/"

// tree is a machine with these files below /sys/class/hwmon. "hwmon0 -> 1-0040" is a link, as the kernel makes it, to the device with that
// name; what the text is does not matter then.
func tree(t *testing.T, files map[string]string) *sensortest.Machine {
	t.Helper()
	plain := map[string]string{}
	for name, text := range files {
		if !strings.Contains(name, " -> ") {
			plain[class+name] = text
		}
	}
	m := sensortest.Tree(t, plain)
	for name := range files {
		if from, to, ok := strings.Cut(name, " -> "); ok {
			link(t, m, from, to)
		}
	}
	return m
}

func link(t *testing.T, m *sensortest.Machine, from, to string) {
	t.Helper()
	target := filepath.Join(m.Dir, "sys/devices", to)
	at := filepath.Join(m.Dir, class, from, "device")
	if err := errors.Join(os.MkdirAll(target, 0o750), os.Symlink(target, at)); err != nil {
		t.Fatal(err)
	}
}

// monitors are two INA226 and one SHT3x; values as in the kernel's documents.
func monitors() map[string]string {
	return map[string]string{
		"hwmon0/name": "ina226\n", "hwmon0 -> i2c-1/1-0040": "",
		"hwmon0/in0_input": "10\n", "hwmon0/in1_input": "11980\n", "hwmon0/curr1_input": "-1000\n",
		"hwmon0/power1_input": "12000000\n", "hwmon0/shunt_resistor": "10000\n", "hwmon0/update_interval": "2\n",
		"hwmon0/in0_lcrit": "0\n", "hwmon0/power1_crit": "0\n", "hwmon0/curr1_label": "",
		"hwmon1/name": "ina226\n", "hwmon1 -> i2c-1/1-0041": "", "hwmon1/in1_input": "5000\n",
		"hwmon2/name": "sht3x\n", "hwmon2 -> i2c-1/1-0044": "",
		"hwmon2/temp1_input": "24625\n", "hwmon2/temp1_max": "0\n", "hwmon2/humidity1_input": "45123\n", "hwmon2/humidity1_alarm": "0\n",
	}
}

// with is a copy of files with changes; "-" removes a file.
func with(files, changes map[string]string) map[string]string {
	files = maps.Clone(files)
	maps.Copy(files, changes)
	maps.DeleteFunc(files, func(_, text string) bool { return text == "-" })
	return files
}

func sht(changes map[string]string) func(t *testing.T) sensors.Hardware {
	return func(t *testing.T) sensors.Hardware { return tree(t, with(monitors(), changes)) }
}

func TestContract(t *testing.T) {
	configure := func(f func(c *Config)) func(sensors.Config) { return func(c sensors.Config) { f(c.(*Config)) } }
	input := func(text string) func(t *testing.T) sensors.Hardware {
		return sht(map[string]string{"hwmon2/temp1_input": text})
	}
	sensortest.Run(t, sensortest.Case{
		Driver:    Driver(),
		Configure: configure(func(c *Config) { c.Chip = "sht3x" }),
		Hardware:  sht(nil),
		Faults: []sensortest.Fault{
			{Name: "no hwmon", Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) }, Want: sensors.ErrAbsent},
			{Name: "no such chip", Hardware: sht(nil), Configure: configure(func(c *Config) { c.Chip = "sht4x" }), Want: sensors.ErrAbsent},
			{Name: "no such device", Hardware: sht(nil), Configure: configure(func(c *Config) { c.Device = "1-0045" }), Want: sensors.ErrAbsent},
			{Name: "two of the name", Hardware: sht(nil), Configure: configure(func(c *Config) { c.Chip = "ina226" })},
			{Name: "any of three", Hardware: sht(nil), Configure: configure(func(c *Config) { c.Chip = "" })},
			{Name: "no such channel", Hardware: sht(nil), Configure: configure(func(c *Config) { c.Channels = []string{"temp2"} }), Want: sensors.ErrAbsent},
			{Name: "name empty", Hardware: sht(map[string]string{"hwmon2/name": ""}), Want: sensors.ErrAbsent},
			{Name: "no channels", Hardware: sht(map[string]string{"hwmon2/temp1_input": "-", "hwmon2/humidity1_input": "-"}), Want: sensors.ErrAbsent},
			{Name: "empty", Hardware: input("")},
			{Name: "blank", Hardware: input("\n")},
			{Name: "text", Hardware: input("N/A\n")},
			{Name: "fraction", Hardware: input("24.625\n")},
			{Name: "two numbers", Hardware: input("24625 1\n")},
			{Name: "hexadecimal", Hardware: input("0x6031\n")},
			{Name: "zero bytes", Hardware: input("\x00\x00")},
			{Name: "a page of it", Hardware: input(strings.Repeat("1", 20000))},
			{Name: "below absolute zero", Hardware: input("-274000\n")},
			{Name: "error number as value", Hardware: input("-2147483648\n")},
			{Name: "beyond 64 bits", Hardware: input("99999999999999999999\n")},
			{Name: "too humid", Hardware: sht(map[string]string{"hwmon2/humidity1_input": "655350\n"})},
			{Name: "fault on both", Hardware: sht(map[string]string{"hwmon2/temp1_fault": "1", "hwmon2/humidity1_fault": "1"}), Want: errFault},
			{
				Name: "fault on the chosen", Hardware: sht(map[string]string{"hwmon2/temp1_fault": "1"}), Want: errFault,
				Configure: configure(func(c *Config) { c.Channels = []string{"temp1"} }),
			},
			{
				Name: "chosen is off", Hardware: sht(map[string]string{"hwmon2/temp1_enable": "0"}), Want: errOff,
				Configure: configure(func(c *Config) { c.Channels = []string{"temp1"} }),
			},
			{Name: "fault unreadable", Hardware: sht(map[string]string{"hwmon2/temp1_fault/x": ""}), Want: unix.EISDIR},
			{
				Name: "one channel twice", Hardware: sht(map[string]string{"hwmon2/temp1_label": "air"}),
				Configure: configure(func(c *Config) { c.Channels = []string{"temp1", "air"} }),
			},
			{
				Name: "label of two", Hardware: sht(map[string]string{"hwmon2/temp1_label": "air", "hwmon2/humidity1_label": "air"}),
				Configure: configure(func(c *Config) { c.Channels = []string{"air"} }),
			},
		},
	})
}

func TestValues(t *testing.T) {
	type m = map[string]string
	s := func(name string, v float64) sensors.Sample { return sensors.Sample{Name: name, Value: v} }
	tests := []struct {
		name   string
		config Config
		files  m
		device string
		want   []sensors.Sample
	}{
		{"one of two", Config{Chip: "ina226", Device: "1-0040"}, monitors(), "hwmon@ina226:1-0040", []sensors.Sample{
			s("voltage_0_volts", 0.01), s("voltage_1_volts", 11.98), s("current_amperes", -1), s("power_watts", 12),
		}},
		{"by device", Config{Device: "1-0041"}, monitors(), "hwmon@ina226:1-0041", []sensors.Sample{s("voltage_1_volts", 5)}},
		{"in their order", Config{Chip: "sht3x", Channels: []string{"humidity1", "temp1"}}, monitors(), "hwmon@sht3x:1-0044", []sensors.Sample{
			s("humidity_percent", 45.123), s("temperature_celsius", 24.625),
		}},
		{"every kind", Config{}, m{
			"hwmon7/name": "all", "hwmon7/temp1_input": "-40000", "hwmon7/in0_input": "-1", "hwmon7/curr1_input": "1500", "hwmon7/power1_input": "1",
			"hwmon7/energy1_input": "9000000000000000", "hwmon7/humidity1_input": "100001", "hwmon7/fan1_input": "1234", "hwmon7/pwm1": "255",
			"hwmon7/power2_average": "2000000", "hwmon7/power1_average": "7", "hwmon7/temp10_input": "1000", "hwmon7/temp2_input": "2000",
			"hwmon7/intrusion0_alarm": "1", "hwmon7/temp3_average": "5", "hwmon7/temp01_input": "5", "hwmon7/uevent": "",
		}, "hwmon@all", []sensors.Sample{
			s("temperature_celsius", -40), s("temperature_2_celsius", 2), s("temperature_10_celsius", 1), s("voltage_0_volts", -0.001),
			s("current_amperes", 1.5), s("power_watts", 0.000001), s("power_2_watts", 2), s("energy_joules", 9e9), s("humidity_percent", 100), s("fan_rpm", 1234),
		}},
		{"labels", Config{}, m{
			"hwmon0/name": "board", "hwmon0/temp1_input": "1000", "hwmon0/temp1_label": "Package id 0\n", "hwmon0/temp2_input": "2000", "hwmon0/temp2_label": "Core 0",
			"hwmon0/temp3_input": "3000", "hwmon0/temp3_label": "core-0", "hwmon0/temp4_input": "4000", "hwmon0/temp4_label": "°",
			"hwmon0/in1_input": "3300", "hwmon0/in1_label": "+3.3V", "hwmon0/in2_input": "1000", "hwmon0/in2_label": "Voltage", "hwmon0/fan1_input": "0", "hwmon0/fan1_label": "CPU Fan",
		}, "hwmon@board", []sensors.Sample{
			s("temperature_package_id_0_celsius", 1), s("temperature_core_0_temp2_celsius", 2), s("temperature_core_0_temp3_celsius", 3), s("temperature_4_celsius", 4),
			s("voltage_3_3v_volts", 3.3), s("voltage_2_volts", 1), s("fan_cpu_rpm", 0),
		}},
		{"by label", Config{Channels: []string{"Core 0"}}, m{
			"hwmon0/name": "coretemp", "hwmon0/temp1_input": "1000", "hwmon0/temp2_input": "2000", "hwmon0/temp2_label": "Core 0\n",
		}, "hwmon@coretemp", []sensors.Sample{s("temperature_core_0_celsius", 2)}},
		{"off and faulty are left out", Config{Chip: "sht3x"}, with(monitors(), m{
			"hwmon2/temp1_enable": "1\n", "hwmon2/temp1_fault": "0\n", "hwmon2/temp2_input": "1", "hwmon2/temp2_enable": "0\n", "hwmon2/temp3_input": "-128000", "hwmon2/temp3_fault": "1\n",
		}), "hwmon@sht3x:1-0044", []sensors.Sample{s("temperature_celsius", 24.625), s("humidity_percent", 45.123)}},
		{"files of an old driver", Config{Chip: "w83781d"}, m{
			"hwmon0/device/name": "w83781d", "hwmon0/device/temp1_input": "30000", "hwmon1/name": "other",
		}, "hwmon@w83781d:device", []sensors.Sample{s("temperature_celsius", 30)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sensor, err := tt.config.Open(t.Context(), tree(t, tt.files))
			if err != nil {
				t.Fatal(err)
			}
			got, err := sensor.Read(t.Context())
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil || sensor.String() != tt.device {
				t.Errorf("%s: %v (-want +got):\n%s", sensor, err, diff)
			}
		})
	}
}

// A channel that the configuration names is not left out without a word, also where another has a value.
func TestChosenChannelIsFaulty(t *testing.T) {
	hw := sht(map[string]string{"hwmon2/temp1_fault": "1"})(t)
	for _, chosen := range [][]string{nil, {"humidity1", "temp1"}} {
		s, err := (&Config{Chip: "sht3x", Channels: chosen}).Open(t.Context(), hw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Read(t.Context())
		if want := chosen != nil; errors.Is(err, errFault) != want || (len(got) == 1) == want {
			t.Errorf("chosen %q: %v, %v", chosen, got, err)
		}
	}
}

// Three values of a DS18B20 may be faults; of other chips they are values.
func TestOneWireFaults(t *testing.T) {
	for text, fault := range map[string]bool{"0\n": true, "85000\n": true, "127937\n": true, "85062\n": false, "-62\n": false} {
		for chip, one := range map[string]bool{"w1_slave_temp\n": true, "lm75\n": false} {
			s, err := (&Config{}).Open(t.Context(), tree(t, map[string]string{"hwmon0/name": chip, "hwmon0/temp1_input": text}))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.Read(t.Context()); errors.Is(err, errOneWire) != (fault && one) || (err == nil) != (len(got) == 1) {
				t.Errorf("%q of %q: %v, %v", text, chip, got, err)
			}
		}
	}
}

// A name never depends on what else was chosen, nor do two chosen channels share one.
func TestNamesThatCannotBeTold(t *testing.T) {
	files := map[string]string{"hwmon0/name": "x"}
	for i, label := range []string{"a", "A", "a temp1"} {
		files[fmt.Sprintf("hwmon0/temp%d_input", i+1)] = "1000"
		files[fmt.Sprintf("hwmon0/temp%d_label", i+1)] = label
	}
	if _, err := (&Config{}).Open(t.Context(), tree(t, files)); err == nil || !strings.Contains(err.Error(), "temperature_a_temp1_celsius") {
		t.Errorf("Open: %v, want an error that names the sample", err)
	}
	s, err := (&Config{Channels: []string{"temp2"}}).Open(t.Context(), tree(t, files))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(t.Context()); err != nil || got[0].Name != "temperature_a_temp2_celsius" {
		t.Errorf("Read: %v, %v", got, err)
	}
}

// opened is the SHT3x, with every read of a file answered by attr.
func opened(t *testing.T, attr func(file string) (string, error), channels ...string) *device {
	t.Helper()
	s, err := (&Config{Chip: "sht3x", Channels: channels}).Open(t.Context(), tree(t, monitors()))
	if err != nil {
		t.Fatal(err)
	}
	d := s.(*device)
	d.attr = func(path string) (string, error) { return attr(filepath.Base(path)) }
	return d
}

// What the kernel says instead of a value, as the errors that a person is helped with.
func TestKernelErrors(t *testing.T) {
	for number, want := range map[unix.Errno]error{
		unix.ENOENT: sensors.ErrAbsent, unix.ENODEV: sensors.ErrAbsent, unix.ENXIO: sensors.ErrAbsent, unix.EREMOTEIO: sensors.ErrAbsent,
		unix.ETIMEDOUT: sensors.ErrTimeout, unix.EBADMSG: sensors.ErrChecksum, unix.ENODATA: errOff, unix.EOPNOTSUPP: errOff, unix.EIO: unix.EIO,
		unix.EINVAL: unix.EINVAL, unix.EACCES: unix.EACCES,
	} {
		for _, channels := range [][]string{nil, {"temp1"}} {
			d := opened(t, func(string) (string, error) { return "", number }, channels...)
			got, err := d.Read(t.Context())
			if got != nil || !errors.Is(err, want) || !errors.Is(err, number) || !strings.HasPrefix(err.Error(), "hwmon@sht3x:1-0044: ") {
				t.Errorf("%v: %v, %v; want %v", number, got, err, want)
			}
		}
	}
}

// One channel that fails fails the reading; one that the kernel has switched off does not.
func TestOneOfTwoFails(t *testing.T) {
	for number, want := range map[unix.Errno]int{unix.EIO: 0, unix.ENODATA: 1} {
		d := opened(t, func(file string) (string, error) {
			if file == "temp1_input" {
				return "", number
			}
			return "45123", nil
		})
		got, err := d.Read(t.Context())
		if len(got) != want || (err == nil) != (want > 0) {
			t.Errorf("%v: %v, %v; want %d samples", number, got, err, want)
		}
	}
}

func TestValueThatIsNotReady(t *testing.T) {
	for _, tt := range []struct {
		name           string
		again          int
		deadline, took time.Duration
		want           error
	}{
		{"soon", 2, time.Second, 100 * time.Millisecond, nil},
		{"never", 1000, 10 * time.Second, 1000 * time.Millisecond, sensors.ErrTimeout},
		{"after the deadline", 1000, 120 * time.Millisecond, 120 * time.Millisecond, sensors.ErrTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				d := opened(t, func(string) (string, error) {
					if n++; n <= tt.again {
						return "", unix.EAGAIN
					}
					return "24625", nil
				}, "temp1")
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				start := time.Now()
				got, err := d.Read(ctx)
				if !errors.Is(err, tt.want) || (err == nil && got[0].Value != 24.625) || time.Since(start) != tt.took {
					t.Errorf("Read: %v, %v after %s; want %v after %s", got, err, time.Since(start), tt.want, tt.took)
				}
			})
		})
	}
}

// The tree changes under an opened sensor.
func TestUnplugged(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"folder vanishes":  os.RemoveAll,
		"name vanishes":    func(dir string) error { return os.Remove(filepath.Join(dir, "name")) },
		"channel vanishes": func(dir string) error { return os.Remove(filepath.Join(dir, "humidity1_input")) },
		"another chip":     func(dir string) error { return os.WriteFile(filepath.Join(dir, "name"), []byte("jc42\n"), 0o600) },
		"another place": func(dir string) error {
			device := filepath.Join(dir, "device")
			return errors.Join(os.Remove(device), os.Symlink(filepath.Join(dir, "../hwmon0"), device))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := tree(t, monitors())
			s, err := (&Config{Chip: "sht3x"}).Open(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if err := change(filepath.Join(m.Dir, class, "hwmon2")); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Read(t.Context()); got != nil || !errors.Is(err, sensors.ErrAbsent) {
				t.Errorf("Read: %v, %v; want ErrAbsent", got, err)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		keys []string
	}{
		{Config{}, nil},
		{Config{Chip: "pwmfan", Device: "0000:01:00.0", Channels: []string{"temp1", "Core 0"}}, nil},
		{Config{Chip: "../../etc"}, []string{"chip"}},
		{Config{Chip: "ina 226"}, []string{"chip"}},
		{Config{Device: "i2c-1/1-0040"}, []string{"device"}},
		{Config{Channels: []string{""}}, []string{"channels"}},
		{Config{Channels: []string{" temp1", "a\x00"}}, []string{"channels", "channels"}},
		{Config{Channels: []string{"temp1_input"}}, []string{"channels"}},
		{Config{Channels: []string{"temp1", "temp1"}}, []string{"channels"}},
	} {
		var keys []string
		tt.c.Validate(func(key, _ string) { keys = append(keys, key) })
		if diff := cmp.Diff(tt.keys, keys); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.c, diff)
		}
	}
}

// Whatever the file says, there is a value that can have been measured, or an error.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{"24625", "-1", "", "0x10", "1.5", "9223372036854775807", "-9223372036854775808", "+5", "1_000"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, k := range kinds() {
			if v, err := k.decode(text); err == nil && !(v >= k.min && v <= k.max) {
				t.Errorf("%s %q gave %g", k.prefix, text, v)
			}
		}
	})
}

// Whatever the files and labels are called, a sample's name is lower_snake_case and ends in its unit.
func FuzzNames(f *testing.F) {
	f.Add("temp1_input", "Core 0")
	f.Add("in0_input", "+3.3V_")
	f.Add("power2_average", "")
	f.Fuzz(func(t *testing.T, file, label string) {
		c := parse(file)
		if c == nil {
			return
		}
		c.label = label
		name([]*channel{c})
		if !strings.HasPrefix(c.sample, c.name+"_") || !strings.HasSuffix(c.sample, "_"+c.unit) || strings.Contains(c.sample, "__") || strings.ToLower(c.sample) != c.sample {
			t.Errorf("%q labelled %q is %q", file, label, c.sample)
		}
	})
}
