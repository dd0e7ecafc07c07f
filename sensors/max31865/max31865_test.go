package max31865

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/conntest"
	"periph.io/x/conn/v3/spi"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// The registers' values and the temperatures of the datasheet's table 9, of IEC 60751 and of others' readings.
func TestCelsius(t *testing.T) {
	for _, tt := range []struct {
		word      uint16
		reference float64
		r0, want  float64
	}{
		{0x4000, 400, 100, 0},
		{0x51dc, 400, 100, 72.17},
		{0x3b9e, 430, 100, 0.35},
		{0x3330, 400, 100, -50.82},
		{0x2710, 430, 100, -86.74},
		{0x2710, 4300, 1000, -86.74},
		{0x5276, 430, 100, 100},
		{0x68b2, 430, 100, 200},
		{0x4154, 430, 100, 25},
	} {
		got, err := rtd{r0: tt.r0, reference: tt.reference}.celsius(tt.word >> 1)
		if err != nil || math.Abs(got-tt.want) > 0.0351 { // one step of the register, where the table rounded to one
			t.Errorf("0x%04x of %g Ω: %g, %v; want %g", tt.word, tt.reference, got, err, tt.want)
		}
	}
}

// The table of IEC 60751, in the direction in which it is a formula and back.
func TestSolve(t *testing.T) {
	for celsius, ohms := range map[float64]float64{
		-200: 18.520, -100: 60.256, -50: 80.306, 0: 100, 25: 109.735, 100: 138.505, 200: 175.856, 850: 390.481,
	} {
		if got := solve(ohms / 100); math.Abs(got-celsius) > 0.0016 { // the table has thousandths of an ohm
			t.Errorf("%g Ω: %.4f °C, want %g", ohms, got, celsius)
		}
	}
	for celsius := -200.0; celsius <= 850; celsius++ {
		ratio := 1 + cvdA*celsius + cvdB*celsius*celsius
		if celsius < 0 {
			ratio += cvdC * (celsius - 100) * celsius * celsius * celsius
		}
		if got := solve(ratio); math.Abs(got-celsius) > 1e-6 {
			t.Errorf("%g °C: %.9f", celsius, got)
		}
	}
}

func TestOhmsWithinHundredths(t *testing.T) {
	for _, tt := range []struct{ ohms, want float64 }{{100.1382, 0.354}, {79.9805, -50.820}, {65.6128, -86.743}, {127.9053, 72.170}} {
		if got := solve(tt.ohms / 100); math.Abs(got-tt.want) > 0.0005 {
			t.Errorf("%g Ω: %.4f, want %.3f", tt.ohms, got, tt.want)
		}
	}
}

// chip is what the registers read.
func registersOf(config byte, word uint16, fault byte) []byte {
	b := []byte{0, config} // the first is read while the address is sent
	b = binary.BigEndian.AppendUint16(b, word)
	return append(b, 0xff, 0xff, 0, 0, fault)
}

// conversation is what goes over SPI in Open and in one Read.
func conversation() []conntest.IO {
	const base = threeWire | filter50
	zeros := make([]byte, 9)
	return []conntest.IO{
		{W: []byte{0x80, base | 0x02}},
		{W: []byte{0x83, 0xff, 0xff, 0, 0}},
		{W: zeros, R: registersOf(base, 0, 0)},
		{W: []byte{0x80, base | 0x82}},
		{W: []byte{0x80, base | 0x84}},
		{W: []byte{0x80, base | 0xa0}},
		{W: zeros, R: registersOf(base|0xa0, 0, 0)}, // still converting
		{W: zeros, R: registersOf(base|0x80, 0x4154, 0)},
		{W: []byte{0x80, base}},
	}
}

const (
	identity = 2 // places in the conversation
	result   = 7
)

// answering replaces the answer to one of the transactions.
func answering(at int, answer []byte) func(*testing.T) sensors.Hardware {
	return func(t *testing.T) sensors.Hardware {
		ops := conversation()
		ops[at].R = answer
		return sensortest.PlaybackSPI(t, spi.Mode1, ops)
	}
}

func TestContract(t *testing.T) {
	other := registersOf(0x11, 0, 0)
	other[4] = 0x7f
	sensortest.Run(t, sensortest.Case{
		Driver:  Driver(),
		SPIOps:  conversation(),
		SPIMode: spi.Mode1,
		Faults: []sensortest.Fault{
			{Name: "settings not taken", Hardware: answering(identity, registersOf(0x10, 0, 0)), Want: sensors.ErrAbsent},
			{Name: "thresholds not taken", Hardware: answering(identity, other), Want: sensors.ErrAbsent},
			{Name: "loss of power", Hardware: answering(result, registersOf(0x00, 0, 0)), Want: sensors.ErrAbsent},
			{Name: "short circuit", Hardware: answering(result, registersOf(0x91, 0x0000, 0)), Want: errWiring},
			{Name: "open circuit", Hardware: answering(result, registersOf(0x91, 0xfffe, 0)), Want: errWiring},
			{Name: "fault bit", Hardware: answering(result, registersOf(0x91, 0x4155, 0x08)), Want: errWiring},
			{Name: "fault without its bit", Hardware: answering(result, registersOf(0x91, 0x4154, 0x04)), Want: errWiring},
			{Name: "fault that is none", Hardware: answering(result, registersOf(0x91, 0x4155, 0)), Want: errWiring},
			{Name: "too cold", Hardware: answering(result, registersOf(0x91, 0x0a00, 0)), Want: errRange},
			{Name: "too hot", Hardware: answering(result, registersOf(0x91, 0xf000, 0)), Want: errRange},
		},
	})
}

// open opens the chip on the other end of ops.
func open(t *testing.T, c *Config, ops []conntest.IO) sensors.Sensor {
	t.Helper()
	s, err := c.Open(t.Context(), sensortest.PlaybackSPI(t, spi.Mode1, ops))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReadTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Driver().New().(*Config), conversation())
		start := time.Now()
		got, err := s.Read(t.Context())
		want := []sensors.Sample{{Name: "temperature_celsius", Value: 24.99}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if took := time.Since(start); took != 2*settle+66*time.Millisecond+pollEvery {
			t.Errorf("it took %s", took)
		}
		if !strings.HasPrefix(s.String(), "max31865@") {
			t.Errorf("String: %s", s)
		}
	})
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		wires, hz int
		base      byte
		time      time.Duration
	}{
		{2, 60, 0x00, 55 * time.Millisecond},
		{2, 50, 0x01, 66 * time.Millisecond},
		{3, 60, 0x10, 55 * time.Millisecond},
		{4, 50, 0x01, 66 * time.Millisecond},
	} {
		c := &Config{Wires: tt.wires, MainsHz: tt.hz}
		if c.base() != tt.base || c.conversionTime() != tt.time {
			t.Errorf("%d wires, %d Hz: 0x%02x, %s", tt.wires, tt.hz, c.base(), c.conversionTime())
		}
	}
}

func TestDeadlineWhileConverting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Driver().New().(*Config), conversation())
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != 40*time.Millisecond {
			t.Errorf("Read: %v after %s, want ErrTimeout after 40 ms", err, time.Since(start))
		}
	})
}

func TestChipThatNeverConverts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := conversation()[:result]
		for len(ops) < result+polls-1 {
			ops = append(ops, ops[result-1])
		}
		s := open(t, Driver().New().(*Config), ops)
		if _, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("Read: %v, want ErrTimeout", err)
		}
	})
}

func TestFaultText(t *testing.T) {
	for status, want := range map[byte]string{
		0x80: "too high", 0x40: "too low", 0x20: "REFIN− is high", 0x10: "REFIN− is low", 0x08: "RTDIN− is low", 0x04: "more than the supply",
		0x00: "does not say",
	} {
		if err := faultError(status); !strings.Contains(err.Error(), want) {
			t.Errorf("0x%02x: %v, want %q", status, err, want)
		}
	}
	if got := faultError(0x18).Error(); !strings.Contains(got, "REFIN− is low") || !strings.Contains(got, "RTDIN−") {
		t.Errorf("two faults: %s", got)
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change    func(*Config)
		key, want string
	}{
		{func(c *Config) { c.Port = "zero" }, "port", `"zero"`},
		{func(c *Config) { c.Wires = 1 }, "wires", "2, 3 or 4"},
		{func(c *Config) { c.Wires = 5 }, "wires", "5"},
		{func(c *Config) { c.R0Ohms = 0 }, "r0_ohms", "PT100"},
		{func(c *Config) { c.R0Ohms = math.NaN() }, "r0_ohms", "NaN"},
		{func(c *Config) { c.R0Ohms = 1e6 }, "r0_ohms", "1e+06"},
		{func(c *Config) { c.ReferenceOhms = 100 }, "reference_ohms", "more than r0_ohms (100)"},
		{func(c *Config) { c.R0Ohms = 1000 }, "reference_ohms", "4300"},
		{func(c *Config) { c.ReferenceOhms = math.Inf(1) }, "reference_ohms", "Inf"},
		{func(c *Config) { c.MainsHz = 55 }, "mains_hz", "50 or 60"},
	} {
		c := Driver().New().(*Config)
		tt.change(c)
		var said []string
		c.Validate(func(key, msg string) { said = append(said, key+": "+msg) })
		if len(said) != 1 || !strings.HasPrefix(said[0], tt.key+": ") || !strings.Contains(said[0], tt.want) {
			t.Errorf("%+v: %q, want %s: … %s …", c, said, tt.key, tt.want)
		}
	}
}

// Whatever the registers are, a thermometer gives a value within its range or an error.
func FuzzDecode(f *testing.F) {
	f.Add(uint16(0x4154), byte(0), 100.0, 430.0)
	f.Add(uint16(0x4001), byte(4), 100.0, 400.0)
	f.Add(uint16(0xfffe), byte(0), 1000.0, 4300.0)
	f.Add(uint16(0x0002), byte(0), 1000.0, 4300.0)
	f.Fuzz(func(t *testing.T, word uint16, fault byte, r0, reference float64) {
		c := &Config{Port: "0.0", Wires: 2, MainsHz: 50, R0Ohms: r0, ReferenceOhms: reference}
		valid := true
		c.Validate(func(string, string) { valid = false })
		if !valid {
			return
		}
		s := snapshot(registersOf(0, word, fault)[1:])
		got, err := rtd{r0: r0, reference: reference}.decode(s)
		switch broken := word&1 != 0 || fault != 0; {
		case err == nil && (broken || !(got >= minCelsius && got <= maxCelsius)):
			t.Errorf("0x%04x, fault 0x%02x: %g", word, fault, got)
		case err != nil && got != 0:
			t.Errorf("%g beside %v", got, err)
		}
	})
}
