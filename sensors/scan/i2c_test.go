package scan_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c"

	"iotagent/internal/crc8"
	"iotagent/sensors"
	"iotagent/sensors/all"
	"iotagent/sensors/scan"
	"iotagent/sensors/sensortest"
)

// oneBus is a machine with bus 1.
func oneBus(t *testing.T, b i2c.Bus) *sensortest.Machine {
	t.Helper()
	m := sensortest.Tree(t, map[string]string{"dev/i2c-1": "", "sys/bus/i2c/devices/i2c-1/name": "bcm2835 (i2c@7e804000)\n"})
	m.Bus = b
	return m
}

// look scans with every driver.
func look(t *testing.T, hw sensors.Hardware, change func(*scan.Options)) *scan.Report {
	t.Helper()
	o := scan.Options{Drivers: all.Drivers(), User: "pi", Usable: func(string) error { return nil }}
	if change != nil {
		change(&o)
	}
	return scan.Run(t.Context(), hw, o)
}

func TestChipsAreNamed(t *testing.T) {
	frame := []byte{0x18, 0x80, 0x12, 0x35, 0x99, 0x00}
	frame = append(frame, crc8.Sum(frame))
	mux := &echo{control: 0x04}
	b := &bus{chips: map[uint16]func(w, r []byte) error{
		0x18: registers(map[byte][]byte{6: {0x00, 0x54}, 7: {0x04, 0x00}}),
		0x19: registers(map[byte][]byte{6: {0x1c, 0x85}, 7: {0x22, 0x00}}),
		0x23: registers(nil),
		0x38: measured(frame),
		0x40: registers(map[byte][]byte{0xfe: {0x54, 0x49}, 0xff: {0x22, 0x60}}),
		0x41: registers(map[byte][]byte{0xfe: {0x54, 0x49}, 0xff: {0x10, 0x50}}),
		0x44: talks([]byte{0x89}, words(0x1234, 0x5678)),
		0x45: talks([]byte{0xf3, 0x2d}, words(0x8010)),
		0x48: registers(map[byte][]byte{0: {0x19, 0x00}}),
		0x50: registers(nil),
		0x74: mux.tx,
		0x76: registers(map[byte][]byte{0xd0: {0x58}}),
		0x77: registers(map[byte][]byte{0x00: {0x50}}),
	}}
	r := look(t, oneBus(t, b), nil)
	want := []scan.Bus{{Bus: "1", Name: "bcm2835 (i2c@7e804000)", Chips: []scan.Chip{
		{Address: "0x18", Name: "MCP9808", Type: "mcp9808"},
		{Address: "0x19"},
		{Address: "0x23", Possible: []string{"bh1750"}},
		{Address: "0x38", Name: "AHT20", Type: "aht20"},
		{Address: "0x40", Name: "INA226", Type: "ina226"},
		{Address: "0x41", Possible: []string{"ina219"}},
		{Address: "0x44", Name: "SHT4x", Type: "sht4x"},
		{Address: "0x45", Name: "SHT3x", Type: "sht3x"},
		{Address: "0x48", Possible: []string{"ads1115", "ina219", "ina226", "lm75"}},
		{Address: "0x50"},
		{Address: "0x74", Multiplexer: true},
		{Address: "0x76", Name: "BMP280", Type: "bme280"},
		{Address: "0x77", Name: "BMP388", Type: "bmp388"},
	}}}
	if diff := cmp.Diff(want, r.I2C, ignoreOthers()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if mux.control != 0x04 {
		t.Errorf("the multiplexer was left at %#x", mux.control)
	}
}

// What does not give itself away stays possible, what gives itself away as another is ruled out.
func TestChipsThatAreNotCertain(t *testing.T) {
	for name, tt := range map[string]struct {
		addr uint16
		chip func(w, r []byte) error
		want scan.Chip
	}{
		"AHT20 just switched on": {0x38, measured([]byte{0x18, 0, 0, 0, 0, 0, 0}), scan.Chip{Address: "0x38", Possible: []string{"aht20"}}},
		"AHT20 that is busy":     {0x38, measured([]byte{0x98, 1, 2, 3, 4, 5, 6}), scan.Chip{Address: "0x38", Possible: []string{"aht20"}}},
		"PCF8574A":               {0x38, (&echo{control: 0x1c}).tx, scan.Chip{Address: "0x38"}},
		"BME280":                 {0x77, registers(map[byte][]byte{0xd0: {0x60}}), scan.Chip{Address: "0x77", Name: "BME280", Type: "bme280"}},
		"BMP390":                 {0x76, registers(map[byte][]byte{0: {0x60}, 0xd0: {0x11}}), scan.Chip{Address: "0x76", Name: "BMP390", Type: "bmp388"}},
		"INA226 of another make": {0x40, registers(map[byte][]byte{0xff: {0x22, 0x60}}), scan.Chip{Address: "0x40", Possible: []string{"ina219"}}},
		"TSL2591":                {0x29, registers(map[byte][]byte{0xb2: {0x50}}), scan.Chip{Address: "0x29", Name: "TSL2591", Type: "tsl2591"}},
		"another at its address": {0x29, registers(nil), scan.Chip{Address: "0x29"}},
		"SCD4x":                  {0x62, talks([]byte{0xe4, 0xb8}, words(0x8000)), scan.Chip{Address: "0x62", Name: "SCD4x", Type: "scd4x"}},
		"an SHT4x with noise":    {0x44, talks([]byte{0x89}, []byte{1, 2, 3, 4, 5, 6}), scan.Chip{}},
	} {
		r := look(t, oneBus(t, &bus{chips: map[uint16]func(w, r []byte) error{tt.addr: tt.chip}}), nil)
		var got scan.Chip
		if chips := r.I2C[0].Chips; len(chips) > 0 {
			got = chips[0]
		}
		if diff := cmp.Diff(tt.want, got, ignoreOthers()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

// ignoreOthers leaves out of Possible what has no place in a test of scan: drivers that are added beside it.
func ignoreOthers() cmp.Option {
	known := []string{"ads1115", "aht20", "bh1750", "bme280", "bmp388", "ina219", "ina226", "lm75", "mcp9808", "sht3x", "sht4x"}
	return cmp.Transformer("known", func(c scan.Chip) scan.Chip {
		c.Possible = slices.DeleteFunc(slices.Clone(c.Possible), func(d string) bool { return !slices.Contains(known, d) })
		if len(c.Possible) == 0 {
			c.Possible = nil
		}
		return c
	})
}

// A chip that answers everything shows what the drivers send where: this list is what was found to be harmless there.
func TestWhatIsSentIsKnown(t *testing.T) {
	b := &bus{every: func(w, r []byte) error {
		for i := range r {
			r[i] = byte(0x11 + len(w) + 3*i)
		}
		return nil
	}}
	// Not on a whole bus, where it would look like a line that is held low.
	for addr := uint16(0x08); addr <= 0x77; addr++ {
		one := &bus{chips: map[uint16]func(w, r []byte) error{addr: b.every}, written: b.written}
		look(t, oneBus(t, one), nil)
		b.written = one.written
		for _, never := range []uint16{0x00, 0x07, 0x0c, 0x69, 0x78} {
			if slices.Contains(one.asked, never) {
				t.Fatalf("0x%02x was asked", never)
			}
		}
	}
	got := map[string]string{}
	for addr, texts := range b.written {
		slices.Sort(texts)
		got[fmt.Sprintf("0x%02x", addr)] = strings.Join(texts, " ")
	}
	want := map[string]string{"0x29": "b2", "0x62": "e4b8", "0x44": "89 f32d ff", "0x45": "89 f32d ff", "0x46": "89 ff", "0x76": "00 11 d0", "0x77": "00 11 d0"}
	for addr := 0x18; addr <= 0x1f; addr++ {
		want[fmt.Sprintf("0x%02x", addr)] = "06 07"
	}
	for _, addr := range []int{0x40, 0x41, 0x42, 0x43, 0x47} {
		want[fmt.Sprintf("0x%02x", addr)] = "ff"
	}
	for addr := 0x70; addr <= 0x75; addr++ {
		want[fmt.Sprintf("0x%02x", addr)] = "11"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestOwnedAddressesAreLeftAlone(t *testing.T) {
	b := &bus{every: func(_, r []byte) error { return nil }}
	m := oneBus(t, b)
	for name, driver := range map[string]string{"1-0048": "lm75", "1-0076": ""} {
		dir := filepath.Join(m.Dir, "sys/bus/i2c/devices", name)
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "name"), []byte("tmp75\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if driver != "" {
			if err := os.Symlink("../../drivers/"+driver, filepath.Join(dir, "driver")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, noProbe := range []bool{true, false} {
		r := look(t, m, func(o *scan.Options) { o.NoProbe = noProbe })
		want := scan.Chip{Address: "0x48", Name: "tmp75", Driver: "lm75"}
		if noProbe && (len(b.asked) > 0 || !cmp.Equal(r.I2C[0].Chips, []scan.Chip{want})) {
			t.Errorf("without probing: asked %v, %+v", b.asked, r.I2C)
		}
	}
	if slices.Contains(b.asked, 0x48) || !slices.Contains(b.asked, 0x76) {
		t.Errorf("asked %x", b.asked)
	}
}

func TestAChannelOfAMultiplexerShowsWhatIsBehindIt(t *testing.T) {
	answers := func(_, r []byte) error { return nil }
	m := oneBus(t, &bus{chips: map[uint16]func(w, r []byte) error{0x50: answers}})
	for name, text := range map[string]string{"dev/i2c-4": "", "sys/bus/i2c/devices/i2c-4/name": "i2c-1-mux (chan_id 0)"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(m.Dir, name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(m.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../1-0070", filepath.Join(m.Dir, "sys/bus/i2c/devices/i2c-4/mux_device")); err != nil {
		t.Fatal(err)
	}
	r := look(t, m, nil)
	if len(r.I2C) != 2 || len(r.I2C[0].Chips) != 1 || len(r.I2C[1].Chips) != 0 {
		t.Errorf("%+v", r.I2C)
	}
}

// What is behind a multiplexer is what answers there and not before it, and its configuration says where.
func TestBehindAMultiplexer(t *testing.T) {
	m := &muxed{Machine: oneBus(t, nil), buses: map[string]*bus{
		"1":        {chips: map[uint16]func(w, r []byte) error{0x70: (&echo{}).tx, 0x50: registers(nil)}},
		"1/0x70:3": {chips: map[uint16]func(w, r []byte) error{0x70: (&echo{}).tx, 0x50: registers(nil), 0x76: registers(map[byte][]byte{0xd0: {0x60}})}},
		"1/0x71:0": {},
	}}
	r := look(t, m, func(o *scan.Options) { o.Buses = []string{"1/0x70:3", "1/0x70:4", "1/0x71:0"} })
	want := []scan.Chip{{Address: "0x76", Name: "BME280", Type: "bme280"}}
	if diff := cmp.Diff(want, r.I2C[0].Chips, ignoreOthers()); diff != "" || r.I2C[0].Bus != "1/0x70:3" {
		t.Errorf("%+v (-want +got)\n%s", r.I2C, diff)
	}
	if r.I2C[1].Problem != "no such bus" || !strings.HasPrefix(r.I2C[2].Problem, "the multiplexer at 0x71 does not answer") {
		t.Errorf("%+v", r.I2C[1:])
	}
	if !strings.Contains(r.Config, "name = \"bme280-1-0x70-3-76\"\ntype = \"bme280\"\nbus = \"1/0x70:3\"\n") {
		t.Error(r.Config)
	}
}

// muxed is a machine with several buses.
type muxed struct {
	*sensortest.Machine
	buses map[string]*bus
}

func (m *muxed) I2C(name string) (i2c.Bus, error) {
	if b := m.buses[name]; b != nil {
		return b, nil
	}
	return nil, errors.New("no such bus")
}

func TestBusesThatDoNotWork(t *testing.T) {
	for name, tt := range map[string]struct {
		bus    func(w, r []byte) error
		want   string
		advice string
	}{
		"hangs":      {func(_, _ []byte) error { return sensors.ErrTimeout }, "SDA or SCL held low", "no sensor"},
		"forbidden":  {func(_, _ []byte) error { return fs.ErrPermission }, "may not open", "usermod -aG i2c pi"},
		"held low":   {func(_, r []byte) error { clear(r); return nil }, "every address", ""},
		"smbus only": {func(_, _ []byte) error { return errors.New("speaks SMBus only") }, "speaks SMBus only", ""},
	} {
		b := &bus{every: tt.bus}
		r := look(t, oneBus(t, b), nil)
		if len(r.I2C) != 1 || !strings.Contains(r.I2C[0].Problem, tt.want) || len(r.I2C[0].Chips) != 0 || r.Config != "" {
			t.Errorf("%s: %+v\n%s", name, r.I2C, r.Config)
		}
		if name != "held low" && len(b.asked) > 3 {
			t.Errorf("%s: %d addresses were asked all the same", name, len(b.asked))
		}
		if tt.advice != "" && name == "forbidden" && !strings.Contains(strings.Join(r.Advice, "\n"), tt.advice) {
			t.Errorf("%s: %q", name, r.Advice)
		}
	}
}

func TestDisplaysAreLeftAlone(t *testing.T) {
	b := &bus{}
	m := oneBus(t, b)
	for _, name := range []string{"fef04500.i2c", "i915 gmbus dpb", "AMDGPU DM i2c hw bus 0", "DPDDC-C", "AUX A/DDI A/PHY A", "HDMI"} {
		if err := os.WriteFile(filepath.Join(m.Dir, "sys/bus/i2c/devices/i2c-1/name"), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		r := look(t, m, nil)
		if len(b.asked) > 0 || !strings.Contains(r.I2C[0].Problem, "--bus 1") {
			t.Fatalf("%s: %d addresses asked, %+v", name, len(b.asked), r.I2C)
		}
	}
	for _, name := range []string{"1", "name:HD"} {
		b.asked = nil
		if r := look(t, m, func(o *scan.Options) { o.Buses = []string{name} }); len(b.asked) == 0 || r.I2C[0].Name != "HDMI" || r.I2C[0].Bus != name {
			t.Errorf("a bus that was asked for was not probed: %+v", r.I2C)
		}
	}
	if r := look(t, m, func(o *scan.Options) { o.Buses = []string{"one"} }); len(r.I2C) != 1 || r.I2C[0].Problem == "" {
		t.Errorf("%+v", r.I2C)
	}
}

// stuck never returns from the kernel until the test ends.
type stuck struct {
	i2c.Bus
	free chan struct{}
}

func (s *stuck) Tx(uint16, []byte, []byte) error {
	<-s.free
	return errors.New("freed")
}

func TestABusThatHangsDoesNotHangTheScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stuck{Bus: &bus{}, free: make(chan struct{})}
		m := oneBus(t, b)
		start := time.Now()
		r := scan.Run(context.Background(), m, scan.Options{Drivers: all.Drivers()})
		if d := time.Since(start); d != 21*time.Second {
			t.Errorf("took %s", d)
		}
		if !strings.Contains(strings.Join(r.Advice, "\n"), "looking at i2c did not end in time") {
			t.Errorf("%q", r.Advice)
		}
		close(b.free)
	})
}

func TestABoardGivesABusUpSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stuck{Bus: &bus{}, free: make(chan struct{})}
		m := oneBus(t, nil)
		hw := sensors.NewHardware(m.Dir, &sensors.HardwareOptions{OpenI2C: func(int) (i2c.BusCloser, error) { return closer{b}, nil }})
		start := time.Now()
		r := look(t, hw, nil)
		if d := time.Since(start); d > 5*time.Second || len(r.I2C) != 1 || !strings.Contains(r.I2C[0].Problem, "does not work") {
			t.Errorf("took %s: %+v", d, r.I2C)
		}
		close(b.free)
		if err := hw.Close(); err != nil {
			t.Error(err)
		}
	})
}

type closer struct{ i2c.Bus }

func (closer) Close() error { return nil }

// A driver that can be asked must say at which addresses, and one that has an address must be found at it.
func TestDriversSayWhereTheyAre(t *testing.T) {
	for _, d := range all.Drivers() {
		if d.Identify != nil && len(d.Addresses) == 0 {
			t.Errorf("%s can identify chips, but has no addresses", d.Type)
		}
		hasBus := strings.Contains(d.Sample, "\nbus = ")
		if hasBus != (len(d.Addresses) > 0) {
			t.Errorf("%s: its sample has a bus: %v; its addresses: %#x", d.Type, hasBus, d.Addresses)
		}
		seen := maps.Collect(func(yield func(uint16, bool) bool) {
			for _, a := range d.Addresses {
				if !yield(a, true) {
					return
				}
			}
		})
		if len(seen) != len(d.Addresses) {
			t.Errorf("%s: an address stands twice: %#x", d.Type, d.Addresses)
		}
	}
}
