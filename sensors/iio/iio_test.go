package iio

import (
	"context"
	"errors"
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

const bus = "sys/bus/iio/devices"

// tree is a machine with these files below /sys/devices, and a link to each folder iio:deviceN and triggerN as the kernel makes it.
func tree(t *testing.T, files map[string]string) *sensortest.Machine {
	t.Helper()
	plain := map[string]string{}
	for name, text := range files {
		plain["sys/devices/"+name] = text
	}
	m := sensortest.Tree(t, plain)
	if err := os.MkdirAll(filepath.Join(m.Dir, bus), 0o750); err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob(filepath.Join(m.Dir, "sys/devices/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range folders {
		if err := os.Symlink(dir, filepath.Join(m.Dir, bus, filepath.Base(dir))); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

const (
	ads  = "1-0048/iio:device0/"
	bme  = "1-0076/iio:device1/"
	ads2 = "1-0049/iio:device2/"
)

// devices are two ADS1115 and a BME280.
func devices() map[string]string {
	return map[string]string{
		ads + "name": "ads1015\n", ads + "in_voltage0_raw": "20000\n", ads + "in_voltage0_scale": "0.125000000\n",
		ads + "in_voltage0-voltage1_raw": "-32768\n", ads + "in_voltage0-voltage1_scale": "0.187500000\n",
		ads + "in_voltage0_sampling_frequency": "128\n", ads + "scale_available": "0.187500000 0.125000000\n", ads + "buffer/enable": "0\n",
		ads2 + "name": "ads1015\n", ads2 + "label": "tank\n", ads2 + "in_voltage3_raw": "1\n", ads2 + "in_voltage_scale": "2\n",
		bme + "name": "bme280\n", bme + "in_temp_input": "24625\n", bme + "in_pressure_input": "101.325000000\n", bme + "in_humidityrelative_input": "45123\n",
		bme + "in_temp_oversampling_ratio": "2\n", bme + "in_temp_raw": "519888\n", bme + "dev": "243:0\n",
		"trigger/trigger0/name": "sysfstrig0\n",
	}
}

// with is a copy of files with changes; "-" removes a file.
func with(files, changes map[string]string) map[string]string {
	files = maps.Clone(files)
	maps.Copy(files, changes)
	maps.DeleteFunc(files, func(_, text string) bool { return text == "-" })
	return files
}

func TestContract(t *testing.T) {
	changed := func(changes map[string]string) func(t *testing.T) sensors.Hardware {
		return func(t *testing.T) sensors.Hardware { return tree(t, with(devices(), changes)) }
	}
	raw := func(text string) func(t *testing.T) sensors.Hardware {
		return changed(map[string]string{ads + "in_voltage0_raw": text})
	}
	scale := func(text string) func(t *testing.T) sensors.Hardware {
		return changed(map[string]string{ads + "in_voltage0_scale": text})
	}
	configure := func(f func(c *Config)) func(sensors.Config) { return func(c sensors.Config) { f(c.(*Config)) } }
	choose := func(names ...string) func(sensors.Config) { return configure(func(c *Config) { c.Channels = names }) }
	sensortest.Run(t, sensortest.Case{
		Driver:    Driver(),
		Configure: configure(func(c *Config) { c.Chip, c.Device = "ads1015", "1-0048" }),
		Hardware:  changed(nil),
		Faults: []sensortest.Fault{
			{Name: "no iio", Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) }, Want: sensors.ErrAbsent},
			{Name: "nothing on it", Hardware: func(t *testing.T) sensors.Hardware { return tree(t, nil) }, Want: sensors.ErrAbsent},
			{Name: "no such chip", Hardware: changed(nil), Configure: configure(func(c *Config) { c.Chip = "bmp280" }), Want: sensors.ErrAbsent},
			{Name: "no such device", Hardware: changed(nil), Configure: configure(func(c *Config) { c.Device = "1-004a" }), Want: sensors.ErrAbsent},
			{Name: "trigger", Hardware: changed(nil), Configure: configure(func(c *Config) { c.Chip, c.Device = "sysfstrig0", "" }), Want: sensors.ErrAbsent},
			{Name: "two of the name", Hardware: changed(nil), Configure: configure(func(c *Config) { c.Device = "" })},
			{Name: "any of three", Hardware: changed(nil), Configure: configure(func(c *Config) { *c = Config{} })},
			{Name: "no such channel", Hardware: changed(nil), Configure: choose("voltage1"), Want: sensors.ErrAbsent},
			{Name: "channel of no known unit", Hardware: changed(map[string]string{ads + "in_proximity0_raw": "1"}), Configure: choose("proximity0"), Want: sensors.ErrAbsent},
			{Name: "only unknown units", Hardware: changed(map[string]string{
				ads + "in_voltage0_raw": "-", ads + "in_voltage0-voltage1_raw": "-", ads + "in_accel_x_raw": "1",
			}), Want: sensors.ErrAbsent},
			{Name: "one channel twice", Hardware: changed(map[string]string{ads + "in_voltage0_label": "tank"}), Configure: choose("voltage0", "tank")},
			{Name: "label of two", Hardware: changed(map[string]string{
				ads + "in_voltage0_label": "tank", ads + "in_voltage0-voltage1_label": "tank",
			}), Configure: choose("tank")},
			{Name: "no name", Hardware: changed(map[string]string{ads + "name": "\n"}), Want: sensors.ErrAbsent},
			{Name: "empty", Hardware: raw("")},
			{Name: "text", Hardware: raw("busy\n")},
			{Name: "two numbers", Hardware: raw("1 2\n")},
			{Name: "decibels", Hardware: raw("1.5 dB\n")},
			{Name: "not a number", Hardware: raw("nan\n")},
			{Name: "infinite", Hardware: raw("-inf\n")},
			{Name: "exponent", Hardware: raw("1e3\n")},
			{Name: "hexadecimal", Hardware: raw("0x10\n")},
			{Name: "two signs", Hardware: raw("--1\n")},
			{Name: "zero bytes", Hardware: raw("\x00")},
			{Name: "beyond a double", Hardware: raw(strings.Repeat("9", 400))},
			{Name: "absurd", Hardware: raw("9223372036854775807\n")},
			{Name: "scale empty", Hardware: scale("")},
			{Name: "scale 0", Hardware: scale("0.000000000\n")},
			{Name: "scale is a folder", Hardware: changed(map[string]string{ads + "in_voltage0_scale": "-", ads + "in_voltage0_scale/x": ""}), Want: unix.EISDIR},
			{Name: "offset is text", Hardware: changed(map[string]string{ads + "in_voltage_offset": "none"})},
		},
	})
}

func TestValues(t *testing.T) {
	type m = map[string]string
	s := func(name string, v float64) sensors.Sample { return sensors.Sample{Name: name, Value: v} }
	one := func(files m) m {
		all := m{"spi0.0/iio:device3/name": "x"}
		for name, text := range files {
			all["spi0.0/iio:device3/"+name] = text
		}
		return all
	}
	tests := []struct {
		name   string
		config Config
		files  m
		device string
		want   []sensors.Sample
	}{
		{"own scale", Config{Device: "1-0048"}, devices(), "iio@ads1015:1-0048", []sensors.Sample{s("voltage_0_volts", 2.5), s("voltage_0_1_volts", -6.144)}},
		{"by the device's label, scale of the type", Config{Chip: "tank"}, devices(), "iio@ads1015:1-0049", []sensors.Sample{s("voltage_3_volts", 0.002)}},
		{"input before raw, in the kernel's units", Config{Chip: "bme280"}, devices(), "iio@bme280:1-0076", []sensors.Sample{
			s("temperature_celsius", 24.625), s("pressure_pascals", 101325), s("humidity_percent", 45.123),
		}},
		{"in their order", Config{Chip: "bme280", Channels: []string{"humidityrelative", "temp"}}, devices(), "iio@bme280:1-0076", []sensors.Sample{
			s("humidity_percent", 45.123), s("temperature_celsius", 24.625),
		}},
		{"negative offset, percent as ppm", Config{}, one(m{
			"in_concentration_co2_raw": "500\n", "in_concentration_co2_scale": "0.000100000\n", "in_temp_raw": "26000\n", "in_temp_scale": "2.670328\n",
			"in_temp_offset": "-16852.190000000\n", "in_concentration_co2_calibbias": "5\n",
		}), "iio@x:spi0.0", []sensors.Sample{s("temperature_celsius", 24.4276532), s("co2_ppm", 500)}},
		{"offset before scale", Config{}, one(m{
			"in_temp_raw": "10\n", "in_temp_offset": "-50\n", "in_temp_scale": "1000\n",
		}), "iio@x:spi0.0", []sensors.Sample{s("temperature_celsius", -40)}},
		{"difference has its own shared scale", Config{}, one(m{
			"in_voltage2_raw": "1000\n", "in_voltage_scale": "1\n", "in_voltage10_raw": "3000\n", "in_voltage2-voltage10_raw": "-2000\n", "in_voltage-voltage_scale": "0.5\n",
		}), "iio@x:spi0.0", []sensors.Sample{s("voltage_2_volts", 1), s("voltage_2_10_volts", -1), s("voltage_10_volts", 3)}},
		{"scale of all", Config{}, one(m{
			"in_voltage0_raw": "1\n", "in_scale": "1000\n", "in_current0_raw": "7\n", "in_current0_scale": "1\n", "in_current0_offset": "-7\n",
		}), "iio@x:spi0.0", []sensors.Sample{s("voltage_0_volts", 1), s("current_0_amperes", 0)}},
		{"no −0", Config{}, one(m{"in_voltage0_raw": "0\n", "scale": "-0.5\n"}), "iio@x:spi0.0", []sensors.Sample{s("voltage_0_volts", 0)}},
		{"every kind, and no others", Config{}, one(m{
			"in_temp_ambient_raw": "21000", "in_temp_object_raw": "36600", "in_power1_raw": "1500", "in_energy_input": "12", "in_resistance_raw": "108000",
			"in_illuminance_input": "0.833333", "in_concentration_input": "0.04", "in_concentration0_co2_input": "0.05", "in_distance_input": "-0.000000", "in_ph_raw": "7.01",
			"in_humidityrelative_input": "101000", "in_proximity_raw": "5", "in_intensity_both_raw": "5", "in_voltage0_mean_raw": "5", "in_current1_peak_raw": "5",
			"in_voltage0-current1_raw": "5", "in_voltage-voltage1_raw": "5", "out_voltage0_raw": "5", "in_voltage0_raw_available": "5", "in_timestamp_en": "1",
		}), "iio@x:spi0.0", []sensors.Sample{
			s("temperature_object_celsius", 36.6), s("temperature_ambient_celsius", 21), s("humidity_percent", 100), s("power_1_watts", 1.5), s("energy_joules", 12),
			s("resistance_ohms", 108000), s("illuminance_lux", 0.833333), s("concentration_ppm", 400), s("concentration_0_co2_ppm", 500), s("distance_meters", 0), s("acidity_ph", 7.01),
		}},
		{"labels", Config{}, one(m{
			"in_voltage0_raw": "1000", "in_voltage0_label": "Battery+\n", "in_voltage1_raw": "2000", "in_voltage1_label": "battery", "in_voltage2_raw": "3000", "in_voltage2_label": "voltage",
			"in_voltage3_raw": "4000", "in_voltage3_label": "solar panel", "in_voltage4_vdd_raw": "5000", "in_voltage4_vdd_label": "core",
		}), "iio@x:spi0.0", []sensors.Sample{
			s("voltage_battery_0_volts", 1), s("voltage_battery_1_volts", 2), s("voltage_2_volts", 3), s("voltage_solar_panel_volts", 4), s("voltage_4_vdd_volts", 5),
		}},
		{"by label", Config{Channels: []string{"solar panel"}}, one(m{
			"in_voltage0_raw": "1000", "in_voltage3_raw": "4000", "in_voltage3_label": "solar panel\n",
		}), "iio@x:spi0.0", []sensors.Sample{s("voltage_solar_panel_volts", 4)}},
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

// A driver that leaves an offset out is refused, one that does not is read.
func TestDriverThatIsKnownToBeWrong(t *testing.T) {
	files := map[string]string{ads + "name": "max31865\n", ads + "in_temp_raw": "9000\n", ads + "in_temp_scale": "31.250000\n"}
	if _, err := (&Config{}).Open(t.Context(), tree(t, files)); err == nil || !strings.Contains(err.Error(), `type = "max31865"`) {
		t.Errorf("got %v, want an error that says what to use", err)
	}
	files[ads+"in_temp_offset"] = "-8192\n"
	s, err := (&Config{}).Open(t.Context(), tree(t, files))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(t.Context()); err != nil || got[0].Value != 25.25 {
		t.Errorf("got %v, %v", got, err)
	}
}

// Two chosen channels never share a name.
func TestNamesThatCannotBeTold(t *testing.T) {
	files := map[string]string{
		ads + "name": "x", ads + "in_voltage0_raw": "1", ads + "in_voltage1_raw": "1", ads + "in_voltage1_label": "0",
	}
	s, err := (&Config{Channels: []string{"voltage1"}}).Open(t.Context(), tree(t, files))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(t.Context()); err != nil || got[0].Name != "voltage_0_1_volts" {
		t.Errorf("Read: %v, %v", got, err)
	}
	files[ads+"in_voltage0-voltage1_raw"] = "1"
	if _, err := (&Config{}).Open(t.Context(), tree(t, files)); err == nil || !strings.Contains(err.Error(), "voltage_0_1_volts") {
		t.Errorf("Open: %v, want an error that names the sample", err)
	}
}

// opened is the first ADS1115, with every read of a file answered by attr.
func opened(t *testing.T, attr func(file string) (string, error)) *device {
	t.Helper()
	s, err := (&Config{Device: "1-0048", Channels: []string{"voltage0"}}).Open(t.Context(), tree(t, devices()))
	if err != nil {
		t.Fatal(err)
	}
	d := s.(*device)
	d.attr = func(path string) (string, error) { return attr(filepath.Base(path)) }
	return d
}

// What the kernel says instead of a value or a scale, as the errors that a person is helped with.
func TestKernelErrors(t *testing.T) {
	for number, want := range map[unix.Errno]error{
		unix.ENOENT: sensors.ErrAbsent, unix.ENODEV: sensors.ErrAbsent, unix.ENXIO: sensors.ErrAbsent, unix.EREMOTEIO: sensors.ErrAbsent,
		unix.ETIMEDOUT: sensors.ErrTimeout, unix.EBADMSG: sensors.ErrChecksum, unix.EBUSY: unix.EBUSY, unix.EIO: unix.EIO, unix.EINVAL: unix.EINVAL,
	} {
		for _, failing := range []string{"in_voltage0_raw", "in_voltage0_scale"} {
			d := opened(t, func(file string) (string, error) {
				if file == failing {
					return "", number
				}
				return "1", nil
			})
			got, err := d.Read(t.Context())
			if got != nil || !errors.Is(err, want) || !errors.Is(err, number) || !strings.HasPrefix(err.Error(), "iio@ads1015:1-0048: voltage0: ") {
				t.Errorf("%s: %v: %v, %v; want %v", failing, number, got, err, want)
			}
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
					return "100", nil
				})
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				start := time.Now()
				got, err := d.Read(ctx)
				if !errors.Is(err, tt.want) || (err == nil && got[0].Value != 10) || time.Since(start) != tt.took {
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
		"channel vanishes": func(dir string) error { return os.Remove(filepath.Join(dir, "in_voltage0_raw")) },
		"scale vanishes":   func(dir string) error { return os.Remove(filepath.Join(dir, "in_voltage0_scale")) },
		"another chip":     func(dir string) error { return os.WriteFile(filepath.Join(dir, "name"), []byte("mcp3424\n"), 0o600) },
		"another label":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "label"), []byte("sump\n"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			m := tree(t, devices())
			s, err := (&Config{Device: "1-0048"}).Open(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if err := change(filepath.Join(m.Dir, "sys/devices", ads)); err != nil {
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
		{Config{Chip: "max31855k", Device: "spi0.0", Channels: []string{"temp", "temp_ambient", "solar panel"}}, nil},
		{Config{Chip: "ads1115\n"}, []string{"chip"}},
		{Config{Device: "i2c-1/1-0048"}, []string{"device"}},
		{Config{Channels: []string{"", " temp"}}, []string{"channels", "channels"}},
		{Config{Channels: []string{"in_voltage0_raw"}}, []string{"channels"}},
		{Config{Channels: []string{"temp", "temp"}}, []string{"channels"}},
	} {
		var keys []string
		tt.c.Validate(func(key, _ string) { keys = append(keys, key) })
		if diff := cmp.Diff(tt.keys, keys); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.c, diff)
		}
	}
}

// Whatever the files say, there is a value that can have been measured, or an error.
func FuzzDecode(f *testing.F) {
	f.Add("20000", "0", "0.125000000")
	f.Add("-0.500000", "-16852.190000000", "2.670328")
	f.Add("1e9", "nan", "inf")
	f.Add("9223372036854775807", "-1", "-0.0")
	f.Fuzz(func(t *testing.T, raw, offset, scale string) {
		r, err1 := parseNumber(raw)
		o, err2 := parseNumber(offset)
		s, err3 := parseNumber(scale)
		if errors.Join(err1, err2, err3) != nil {
			return
		}
		for _, k := range kinds() {
			if v, err := k.convert(r, o, s); err == nil && !(v >= k.min && v <= k.max) {
				t.Errorf("%s: (%s + %s) × %s gave %g", k.typ, raw, offset, scale, v)
			}
		}
	})
}

// Whatever the files and labels are called, a sample's name is lower_snake_case and ends in its unit.
func FuzzNames(f *testing.F) {
	f.Add("in_voltage0-voltage1_raw", "Battery+")
	f.Add("in_concentration_co2_input", "")
	f.Add("in_concentration0_2_raw", "7")
	f.Add("in_temp_ambient_raw", "é")
	f.Fuzz(func(t *testing.T, file, label string) {
		c := parse(file)
		if c == nil {
			return
		}
		c.label = label
		name([]*channel{c})
		if c.sample[0] < 'a' || c.sample[0] > 'z' || !strings.HasSuffix(c.sample, "_"+c.unit) || strings.Contains(c.sample, "__") || strings.ToLower(c.sample) != c.sample {
			t.Errorf("%q labelled %q is %q", file, label, c.sample)
		}
	})
}
