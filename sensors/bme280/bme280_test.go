package bme280

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// row is one worked example: the calibration and data bytes of a chip, and what they mean.
type row struct {
	name                string
	low, high, data     string
	centi, fine, p256   int64
	humidity1024        int64
	celsius, pa, relHum float64 // of the floating point formulas, another way to the same
}

func rows() []row {
	const v2low = "106e6c6632005d95b8d5d00b771e9dfff9ffac260ad8bd10004b"
	return []row{
		{
			"datasheet", "706b436718fc7d8e43d6d00b270b8c00f9ff8c3cf8c67017004b", "6a010014 0d001e", "655ac0 7eed00 61a8",
			2508, 128422, 25767233, 21277, 25.082478, 100653.2581, 20.77931,
		},
		{"chip on I2C", v2low, "6e010013 05001e", "4a52c0 8096c0 7a76", 2372, 121449, 25841330, 66873, 23.722089, 100942.6981, 65.30589},
		{
			"chip on SPI", "c96c63653200779398d5d00b6723ba00f9ffac260ad8bd10004b", "5c010015 0f001e", "519fc0 9e3a50 5e5b",
			6268, 320931, 25491439, 10189, 62.683635, 99575.9399, 9.94508,
		},
		{"negative H5", v2low, "6e010012 ccfe1e", "4a52c0 8096c0 7a76", 2372, 121449, 25841330, 70476, 23.722089, 100942.6981, math.NaN()},
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCompensation(t *testing.T) {
	for _, r := range rows() {
		c, err := parseCalibration(unhex(t, r.low), unhex(t, r.high))
		if err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		adc, err := parseRaw(unhex(t, r.data))
		if err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		centi, fine := c.temperature(adc.t)
		p, err := c.pressure(adc.p, fine)
		h := c.humidity(adc.h, fine)
		want := []int64{r.centi, r.fine, r.p256, r.humidity1024}
		if diff := cmp.Diff(want, []int64{centi, fine, p, h}); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", r.name, err, diff)
		}
		if math.Abs(float64(centi)/100-r.celsius) > 0.006 || math.Abs(float64(p)/256-r.pa) > 0.01 || math.Abs(float64(h)/1024-r.relHum) > 0.01 {
			t.Errorf("%s: far from the floating point formulas", r.name)
		}
	}
}

func TestCalibrationWords(t *testing.T) {
	want := map[string]calibration{
		"datasheet": {
			t1: 27504, t2: 26435, t3: -1000, p1: 36477,
			p:  [10]int16{2: -10685, 3024, 2855, 140, -7, 15500, -14600, 6000},
			h1: 75, h2: 362, h3: 0, h4: 333, h5: 0, h6: 30,
		},
		"negative H5": {
			t1: 28176, t2: 26220, t3: 50, p1: 38237,
			p:  [10]int16{2: -10824, 3024, 7799, -99, -7, 9900, -10230, 4285},
			h1: 75, h2: 366, h3: 0, h4: 300, h5: -20, h6: 30,
		},
	}
	for _, r := range rows() {
		w, ok := want[r.name]
		if !ok {
			continue
		}
		got, err := parseCalibration(unhex(t, r.low), unhex(t, r.high))
		if diff := cmp.Diff(w, got, cmp.AllowUnexported(calibration{})); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", r.name, err, diff)
		}
	}
}

func TestExtremeCalibration(t *testing.T) {
	base, err := parseCalibration(unhex(t, rows()[0].low), unhex(t, rows()[0].high))
	if err != nil {
		t.Fatal(err)
	}
	base.h2 = 363
	a, b, c := base, base, base
	a.p[4], a.p[5], a.p[7], a.h4, a.h5 = -2855, -140, -15500, -349, -30
	b.p[4], b.p[7], b.h4, b.h5 = -32768, -32768, 349, 30
	c.h4, c.h5 = -2048, -2048 // overflows 32 bits
	for _, tt := range []struct {
		c        calibration
		adcH     int64
		p256, h  int64
		pressure bool
	}{
		{a, 0x6ff0, 29319753, 102400, true},
		{b, 0x6ff0, 50608566, 35945, true},
		{c, 0xa000, 0, 102400, false},
	} {
		centi, fine := tt.c.temperature(519888)
		p, err := tt.c.pressure(415148, fine)
		if err != nil || centi != 2508 || tt.pressure && p != tt.p256 {
			t.Errorf("temperature %d, pressure %d, %v; want 2508, %d", centi, p, err, tt.p256)
		}
		if h := tt.c.humidity(tt.adcH, fine); h != tt.h {
			t.Errorf("humidity %d, want %d", h, tt.h)
		}
	}
}

// conversation is what goes over the bus in setUp and in one Read, for a chip with that id.
func conversation(t *testing.T, r row, id byte) (setUp, read []i2ctest.IO) {
	t.Helper()
	op := func(w, answer []byte) i2ctest.IO { return i2ctest.IO{Addr: 0x76, W: w, R: answer} }
	setUp = []i2ctest.IO{
		op([]byte{0xd0}, []byte{id}),
		op([]byte{0xe0, 0xb6}, nil),
		op([]byte{0xf3}, []byte{0x01}), // still copying its calibration
		op([]byte{0xf3}, []byte{0x00}),
		op([]byte{0x88}, unhex(t, r.low)),
	}
	if id == idBMP280 {
		setUp = append(setUp, op([]byte{0xf4, 0x24}, nil))
		read = []i2ctest.IO{
			op([]byte{0xf2}, []byte{0x00, 0x00, 0x24, 0x00}),
			op([]byte{0xf4, 0x25}, nil),
			op([]byte{0xf3}, []byte{0x00}),
			op([]byte{0xf7}, unhex(t, r.data)[:6]),
		}
		return setUp, read
	}
	setUp = append(setUp, op([]byte{0xe1}, unhex(t, r.high)), op([]byte{0xf2, 0x01, 0xf4, 0x24}, nil))
	read = []i2ctest.IO{
		op([]byte{0xf2}, []byte{0x01, 0x04, 0x24, 0x00}),
		op([]byte{0xf2, 0x01, 0xf4, 0x25}, nil),
		op([]byte{0xf3}, []byte{0x08}), // still measuring
		op([]byte{0xf3}, []byte{0x00}),
		op([]byte{0xf7}, unhex(t, r.data)),
	}
	return setUp, read
}

func joined(parts ...[]i2ctest.IO) []i2ctest.IO { return slices.Concat(parts...) }

// answering replaces the answer to one of the transactions.
func answering(ops []i2ctest.IO, at int, answer ...byte) func(*testing.T) sensors.Hardware {
	ops = slices.Clone(ops)
	ops[at].R = answer
	return func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, ops) }
}

func TestContract(t *testing.T) {
	r := rows()[0]
	setUp, read := conversation(t, r, idBME280)
	all := joined(setUp, read)
	last := len(all) - 1
	data := unhex(t, r.data)
	with := func(at int, b ...byte) []byte { d := slices.Clone(data); copy(d[at:], b); return d }
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Ops:    all,
		Faults: []sensortest.Fault{
			{Name: "no chip id", Hardware: answering(all, 0, 0x00), Want: sensors.ErrAbsent},
			{Name: "BMP180", Hardware: answering(all, 0, 0x55), Want: sensors.ErrAbsent},
			{Name: "calibration all 0x00", Hardware: answering(all, 4, make([]byte, 26)...), Want: errImplausible},
			{Name: "calibration all 0xff", Hardware: answering(all, 5, unhex(t, "ffffffffffffff")...), Want: errImplausible},
			{Name: "pressure skipped", Hardware: answering(all, last, with(0, 0x80, 0, 0)...), Want: errNotConverted},
			{Name: "temperature skipped", Hardware: answering(all, last, with(3, 0x80, 0, 0)...), Want: errNotConverted},
			{Name: "humidity at its lower end", Hardware: answering(all, last, with(6, 0, 0)...), Want: errBroken},
			{Name: "humidity at its upper end", Hardware: answering(all, last, with(6, 0xff, 0xff)...), Want: errBroken},
			{Name: "humidity skipped", Hardware: answering(all, last, with(6, 0x80, 0)...), Want: errNotConverted},
			{Name: "too hot", Hardware: answering(all, last, with(3, 0xff, 0, 0)...)},
			{Name: "pressure out of range", Hardware: answering(all, last, with(0, 0x01, 0, 0)...)},
			{Name: "data all 0x00", Hardware: answering(all, last, make([]byte, 8)...)},
			{
				Name:      "another address",
				Hardware:  func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, all) },
				Configure: func(c sensors.Config) { c.(*Config).Address = 0x77 },
			},
			{
				Name:     "no bus",
				Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) },
				Want:     sensors.ErrAbsent,
			},
		},
	})
}

func TestContractBMP280(t *testing.T) {
	setUp, read := conversation(t, rows()[0], idBMP280)
	sensortest.Run(t, sensortest.Case{Driver: Driver(), Ops: joined(setUp, read)})
}

// open opens the chip on the other end of ops, with some virtual time to spare.
func open(t *testing.T, ops []i2ctest.IO) sensors.Sensor {
	t.Helper()
	s, err := Driver().New().Open(t.Context(), sensortest.Playback(t, ops))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestValues(t *testing.T) {
	tests := []struct {
		id   byte
		name string
		want []sensors.Sample
	}{
		{idBME280, "bme280@i2c1:0x76", []sensors.Sample{
			{Name: "temperature_celsius", Value: 25.08},
			{Name: "pressure_pascals", Value: 100653.3},
			{Name: "humidity_percent", Value: 20.778},
		}},
		{idBMP280, "bmp280@i2c1:0x76 (no humidity)", []sensors.Sample{
			{Name: "temperature_celsius", Value: 25.08},
			{Name: "pressure_pascals", Value: 100653.3},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				setUp, read := conversation(t, rows()[0], tt.id)
				s := open(t, joined(setUp, read))
				got, err := s.Read(t.Context())
				if diff := cmp.Diff(tt.want, got); diff != "" || err != nil || s.String() != tt.name {
					t.Errorf("%s: %v (-want +got):\n%s", s, err, diff)
				}
			})
		})
	}
}

// A chip that lost its power answers the reset values; it may even be another chip, with other calibration words.
func TestBrownOutIsSetUpAnew(t *testing.T) {
	for _, id := range []byte{idBME280, idBMP280} {
		synctest.Test(t, func(t *testing.T) {
			first, second := rows()[0], rows()[1]
			setUp, read := conversation(t, first, id)
			again, readAgain := conversation(t, second, id)
			lost := i2ctest.IO{Addr: 0x76, W: []byte{0xf2}, R: []byte{0, 0, 0, 0}}
			s := open(t, joined(setUp, read, []i2ctest.IO{lost}, again, readAgain[1:]))
			for _, want := range []float64{25.08, 23.72} {
				got, err := s.Read(t.Context())
				if err != nil || got[0].Value != want {
					t.Errorf("%s: Read: %v, %v; want %g °C", s, got, err, want)
				}
			}
		})
	}
}

// Another program that changed one of the settings, such as the filter, changed what the values mean.
func TestChangedSettingsAreMadeAnew(t *testing.T) {
	for _, regs := range [][]byte{{0x02, 0x04, 0x24, 0x00}, {0x01, 0x04, 0x44, 0x00}, {0x01, 0x04, 0x28, 0x00}, {0x01, 0x04, 0x24, 0x10}, {0x01, 0x04, 0x24, 0xa0}} {
		synctest.Test(t, func(t *testing.T) {
			setUp, read := conversation(t, rows()[0], idBME280)
			changed := i2ctest.IO{Addr: 0x76, W: []byte{0xf2}, R: regs}
			s := open(t, joined(setUp, []i2ctest.IO{changed}, setUp, read[1:]))
			if got, err := s.Read(t.Context()); err != nil || got[0].Value != 25.08 {
				t.Errorf("% x: %v, %v", regs, got, err)
			}
		})
	}
}

func TestTiming(t *testing.T) {
	for _, tt := range []struct {
		oversampling int
		humid        bool
		want         time.Duration
	}{
		{1, true, 9300 * time.Microsecond},
		{1, false, 6425 * time.Microsecond},
		{16, true, 112800 * time.Microsecond},
	} {
		d := &device{oversampling: tt.oversampling, humid: tt.humid}
		if got := d.conversionTime(); got != tt.want {
			t.Errorf("oversampling %d, humid %t: %s, want %s", tt.oversampling, tt.humid, got, tt.want)
		}
	}
	for oversampling, want := range map[int]byte{1: 0x24, 2: 0x48, 4: 0x6c, 8: 0x90, 16: 0xb4} {
		if got := (&device{oversampling: oversampling}).ctrlMeas(); got != want {
			t.Errorf("oversampling %d: ctrl_meas 0x%02x, want 0x%02x", oversampling, got, want)
		}
	}
}

func TestDeadlineWhileMeasuring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp, read := conversation(t, rows()[0], idBME280)
		s := open(t, joined(setUp, read))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != 5*time.Millisecond {
			t.Errorf("Read: %v after %s, want ErrTimeout after 5 ms", err, time.Since(start))
		}
	})
}

func TestChipThatStaysBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp, read := conversation(t, rows()[0], idBME280)
		busy := slices.Repeat(read[2:3], polls)
		s := open(t, joined(setUp, read[:2], busy))
		if _, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("Read: %v, want ErrTimeout", err)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change func(*Config)
		key    string
	}{
		{func(c *Config) { c.Address = 0x40 }, "address"},
		{func(c *Config) { c.Address = -1 }, "address"},
		{func(c *Config) { c.Bus = "one" }, "bus"},
		{func(c *Config) { c.Oversampling = 3 }, "oversampling"},
		{func(c *Config) { c.Oversampling = 0 }, "oversampling"},
		{func(c *Config) { c.Oversampling = 32 }, "oversampling"},
	} {
		c := Driver().New().(*Config)
		tt.change(c)
		var keys []string
		c.Validate(func(key, _ string) { keys = append(keys, key) })
		if diff := cmp.Diff([]string{tt.key}, keys); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c, diff)
		}
	}
}

// Whatever the bytes are, a chip gives values within its range or an error.
func FuzzDecode(f *testing.F) {
	for _, r := range rows() {
		parts := make([][]byte, 3)
		for i, s := range []string{r.low, r.high, r.data} {
			parts[i], _ = hex.DecodeString(strings.ReplaceAll(s, " ", "")) // TestCompensation decodes them too
		}
		f.Add(parts[0], parts[1], parts[2])
	}
	f.Fuzz(func(t *testing.T, low, high, data []byte) {
		if len(low) != 26 || len(high) != 7 || len(data) != 8 {
			return
		}
		c, err := parseCalibration(low, high)
		if err != nil {
			return
		}
		for _, humid := range []bool{true, false} {
			d := &device{humid: humid, calib: c}
			n := map[bool]int{true: 8, false: 6}[humid]
			samples, err := d.decode(data[:n])
			if (err == nil) != (len(samples) > 0) {
				t.Fatalf("samples %v beside error %v", samples, err)
			}
			limits := [][2]float64{{-40, 85}, {30000, 110000}, {0, 100}}
			for i, s := range samples {
				if !(s.Value >= limits[i][0] && s.Value <= limits[i][1]) {
					t.Errorf("%s = %g", s.Name, s.Value)
				}
			}
		}
	})
}
