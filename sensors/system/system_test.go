package system

import (
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

const (
	zones = "sys/class/thermal/thermal_zone"
	hwmon = "sys/class/hwmon/hwmon"
	net   = "sys/class/net/"
)

// pi is a Raspberry Pi with what matters of its trees.
func pi() map[string]string {
	return map[string]string{
		"proc/loadavg":                      "0.24 0.38 1.41 2/127 8094\n",
		"proc/meminfo":                      "MemTotal:         948304 kB\nMemFree:          100000 kB\nMemAvailable:     700000 kB\nHugePages_Total:       0\n",
		"proc/uptime":                       "5123.41 9876.54\n",
		"proc/sys/kernel/hostname":          "pi-17\n",
		zones + "0/type":                    "cpu-thermal\n",
		zones + "0/temp":                    "48312\n",
		zones + "1/type":                    "wifi-thermal\n",
		zones + "1/temp":                    "70000\n",
		net + "eth0/device/vendor":          "",
		net + "wlan0/device/x":              "",
		net + "docker0/x":                   "",
		net + "bonding_masters":             "\n",
		net + "eth0/statistics/rx_bytes":    "1000\n",
		net + "eth0/statistics/tx_bytes":    "200\n",
		net + "wlan0/statistics/rx_bytes":   "30\n",
		net + "wlan0/statistics/tx_bytes":   "4\n",
		net + "docker0/statistics/rx_bytes": "999999\n",
		net + "docker0/statistics/tx_bytes": "999999\n",
		net + "lo/statistics/rx_bytes":      "77\n",
		net + "lo/statistics/tx_bytes":      "77\n",
	}
}

// want is what pi reads as, without its disk.
func want() map[string]float64 {
	return map[string]float64{
		"cpu_temperature_celsius": 48.312,
		"load_1m":                 0.24, "load_5m": 0.38, "load_15m": 1.41,
		"memory_total_bytes": 948304 * 1024, "memory_available_bytes": 700000 * 1024, "memory_used_bytes": 248304 * 1024,
		"network_receive_bytes": 1030, "network_transmit_bytes": 204,
		"uptime_seconds": 5123.41,
	}
}

func without(m map[string]float64, names ...string) map[string]float64 {
	m = maps.Clone(m)
	for _, n := range names {
		delete(m, n)
	}
	return m
}

func with(m map[string]float64, name string, v float64) map[string]float64 {
	m = maps.Clone(m)
	m[name] = v
	return m
}

func read(t *testing.T, hw sensors.Hardware, c *Config) map[string]float64 {
	t.Helper()
	got, err := readPart(t, hw, c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func readPart(t *testing.T, hw sensors.Hardware, c *Config) (map[string]float64, error) {
	t.Helper()
	s, err := c.Open(t.Context(), hw)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := s.Read(t.Context())
	got := map[string]float64{}
	for _, s := range samples {
		got[s.Name] = s.Value
	}
	return got, err
}

// misses holds an error to be about something that the configuration names and the machine lacks.
func misses(t *testing.T, err error, text string) {
	t.Helper()
	if !errors.Is(err, sensors.ErrIncomplete) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one about %q", err, text)
	}
}

func TestContract(t *testing.T) {
	empty := func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, map[string]string{"proc/loadavg": ""}) }
	sensortest.Run(t, sensortest.Case{
		Driver:   Driver(),
		Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, pi()) },
		Unstable: true, // the disk is this machine's
		Faults: []sensortest.Fault{
			{Name: "no proc", Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) }, Want: sensors.ErrAbsent},
			{Name: "nothing readable", Hardware: empty, Configure: func(c sensors.Config) { c.(*Config).Paths = nil }, Want: sensors.ErrAbsent},
		},
	})
}

// What is missing or nonsense is left out; everything else is still there and right.
func TestTrees(t *testing.T) {
	const temperature = "cpu_temperature_celsius"
	memory := []string{"memory_total_bytes", "memory_available_bytes", "memory_used_bytes"}
	network := []string{"network_receive_bytes", "network_transmit_bytes"}
	loads := []string{"load_1m", "load_5m", "load_15m"}
	noZones := map[string]string{zones + "0/type": "acpitz\n"}
	chip := func(files map[string]string) map[string]string {
		m := maps.Clone(noZones)
		for name, text := range files {
			m[hwmon+name] = text
		}
		return m
	}
	tests := []struct {
		name   string
		change map[string]string // "-" removes the file
		want   map[string]float64
	}{
		{"all there", nil, want()},
		{"hotter zone", map[string]string{zones + "2/type": "soc-thermal", zones + "2/temp": "50000"}, with(want(), temperature, 50)},
		{"zone vanishes", map[string]string{zones + "0/temp": "-"}, without(want(), temperature)},
		{"zone empty", map[string]string{zones + "0/temp": ""}, without(want(), temperature)},
		{"zone off", map[string]string{zones + "0/temp": "-274000\n"}, without(want(), temperature)},
		{"zone zero", map[string]string{zones + "0/temp": "0\n"}, without(want(), temperature)},
		{"zone is text", map[string]string{zones + "0/temp": "48.3\n"}, without(want(), temperature)},
		{"zone in frost", map[string]string{zones + "0/temp": "-12000\n"}, with(want(), temperature, -12)},
		{"board zone only", noZones, without(want(), temperature)},
		{"hwmon", chip(map[string]string{"0/name": "coretemp", "0/temp1_input": "41000", "0/temp2_input": "43000", "1/name": "nvme", "1/temp1_input": "90000"}), with(want(), temperature, 43)},
		{"hwmon fault", chip(map[string]string{"0/name": "coretemp", "0/temp1_input": "127000", "0/temp1_fault": "1"}), without(want(), temperature)},
		{"hwmon control value", chip(map[string]string{
			"0/name": "k10temp", "0/temp1_input": "72000", "0/temp1_label": "Tctl", "0/temp2_input": "45000", "0/temp2_label": "Tdie",
		}), with(want(), temperature, 45)},
		{"hwmon control value alone", chip(map[string]string{"0/name": "k10temp", "0/temp1_input": "52000", "0/temp1_label": "Tctl"}), with(want(), temperature, 52)},
		{"load short", map[string]string{"proc/loadavg": "0.24 0.38"}, without(want(), loads...)},
		{"load broken", map[string]string{"proc/loadavg": "0.24 nan 0.1 1/1 1"}, without(want(), loads...)},
		{"load negative", map[string]string{"proc/loadavg": "0.24 0.1 -1 1/1 1"}, without(want(), loads...)},
		{"memory without available", map[string]string{"proc/meminfo": "MemTotal: 10 kB\n"}, without(want(), memory...)},
		{"memory in other units", map[string]string{"proc/meminfo": "MemTotal: 10 MB\nMemAvailable: 5 MB\n"}, without(want(), memory...)},
		{"more available than there is", map[string]string{"proc/meminfo": "MemTotal: 10 kB\nMemAvailable: 50 kB\n"}, without(want(), memory...)},
		{"uptime broken", map[string]string{"proc/uptime": "\x00\xff"}, without(want(), "uptime_seconds")},
		{"counter vanishes", map[string]string{net + "wlan0/statistics/tx_bytes": "-"}, without(want(), network...)},
		{"counter negative", map[string]string{net + "eth0/statistics/rx_bytes": "-5"}, without(want(), network...)},
		{"container", map[string]string{
			net + "eth0/device/vendor": "-", net + "wlan0/device/x": "-", net + "docker0/statistics/rx_bytes": "5", net + "docker0/statistics/tx_bytes": "6",
		}, with(with(want(), network[0], 1035), network[1], 210)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := pi()
			maps.Copy(files, tt.change)
			maps.DeleteFunc(files, func(_, text string) bool { return text == "-" })
			got := read(t, sensortest.Tree(t, files), &Config{})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("samples (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInterfacesOneByOne(t *testing.T) {
	got, err := readPart(t, sensortest.Tree(t, pi()), &Config{Interfaces: []string{"eth0", "wwan0", "docker0"}})
	misses(t, err, "network interface wwan0: not there")
	expect := with(without(want(), "network_receive_bytes", "network_transmit_bytes"), "network_eth0_receive_bytes", 1000)
	expect["network_eth0_transmit_bytes"] = 200
	expect["network_docker0_receive_bytes"], expect["network_docker0_transmit_bytes"] = 999999, 999999
	if diff := cmp.Diff(expect, got); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

func TestDisks(t *testing.T) {
	hw := sensortest.Tree(t, pi())
	if err := os.MkdirAll(filepath.Join(hw.Root(), "var/lib"), 0o750); err != nil {
		t.Fatal(err)
	}
	got, err := readPart(t, hw, &Config{Paths: []string{"/", "/var/lib", "/not/mounted"}})
	misses(t, err, "disk /not/mounted: no such file")
	var st unix.Statfs_t
	if err := unix.Statfs(hw.Root(), &st); err != nil {
		t.Fatal(err)
	}
	block := float64(st.Frsize)
	size, wantUsed := float64(st.Blocks)*block, float64(st.Blocks-st.Bfree)*block
	for _, kind := range []string{"disk_", "disk_var_lib_"} {
		used, free := got[kind+"used_bytes"], got[kind+"free_bytes"]
		if used <= 0 || free <= 0 || used+free > size || math.Abs(used-wantUsed) > size/10 { // others write too
			t.Errorf("%s: used %g and free %g of %g bytes", kind, used, free, size)
		}
	}
	for name := range got {
		if strings.Contains(name, "mounted") {
			t.Errorf("%s of a path that does not exist", name)
		}
	}
}

func TestThisMachine(t *testing.T) {
	c := Driver().New().(*Config)
	got := read(t, sensors.NewHardware("/", nil), c)
	for _, name := range []string{"load_1m", "memory_total_bytes", "uptime_seconds", "disk_used_bytes"} {
		if v, ok := got[name]; !ok || v < 0 {
			t.Errorf("%s = %g, %t; every Linux has it", name, v, ok)
		}
	}
}

func TestString(t *testing.T) {
	for want, files := range map[string]map[string]string{"system@pi-17": pi(), "system": {"proc/x": ""}} {
		s, err := (&Config{}).Open(t.Context(), sensortest.Tree(t, files))
		if err != nil || s.String() != want {
			t.Errorf("String: %v, %v; want %s", s, err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		keys []string
	}{
		{Config{}, nil},
		{Config{Paths: []string{"/", "/var/lib"}, Interfaces: []string{"eth0", "eth0.5"}}, nil},
		{Config{Paths: []string{"var"}}, []string{"paths"}},
		{Config{Paths: []string{"/var/"}}, []string{"paths"}},
		{Config{Paths: []string{"/var/../etc"}}, []string{"paths"}},
		{Config{Paths: []string{"/a/b", "/a-b"}}, []string{"paths"}},
		{Config{Interfaces: []string{"../../x"}}, []string{"interfaces"}},
		{Config{Interfaces: []string{"eth.0", "eth-0"}}, []string{"interfaces"}},
		{Config{Interfaces: []string{""}}, []string{"interfaces"}},
	} {
		var keys []string
		tt.c.Validate(func(key, _ string) { keys = append(keys, key) })
		if diff := cmp.Diff(tt.keys, keys); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.c, diff)
		}
	}
}
