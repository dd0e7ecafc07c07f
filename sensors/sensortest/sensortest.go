// Package sensortest holds every driver to the contract of package sensors.
//
// A driver's test gives Run its Driver, a machine on which the sensor works, and the ways in which it can break. For a
// chip on I²C or SPI the recorded conversation is enough: Run breaks it at every step.
package sensortest

import (
	"context"
	"errors"
	"math"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"

	"periph.io/x/conn/v3/conntest"
	"periph.io/x/conn/v3/i2c/i2ctest"
	"periph.io/x/conn/v3/spi"

	"iotagent/sensors"
)

// Case is one driver under test.
type Case struct {
	// Driver is what the driver's package returns.
	Driver sensors.Driver
	// Configure changes the default configuration to find the sensor. Nil leaves the defaults.
	Configure func(cfg sensors.Config)
	// Required are the keys that have no default: a file must give them.
	Required []string
	// Hardware returns a machine on which Open and one Read succeed, anew at each call. Nil when Ops or SPIOps is given.
	Hardware func(t *testing.T) sensors.Hardware
	// Ops is what goes over an I²C bus during Open and one Read, in that order.
	Ops []i2ctest.IO
	// SPIOps is the same for a chip on SPI, to which the driver has to connect in SPIMode with 8 bits a word.
	SPIOps  []conntest.IO
	SPIMode spi.Mode
	// ZeroIsValue says that an SPI data line that is stuck low reads as a right value of this chip, so that nobody can tell.
	ZeroIsValue bool
	// Faults are further machines on which Open or the first Read must fail.
	Faults []Fault
	// Unstable says that the values need not be the same in two runs.
	Unstable bool
}

// Fault is one way in which a sensor can be broken.
type Fault struct {
	// Name says what is broken.
	Name string
	// Hardware returns the broken machine, anew at each call.
	Hardware func(t *testing.T) sensors.Hardware
	// Configure is called after Case.Configure. Nil changes nothing.
	Configure func(cfg sensors.Config)
	// Want is wrapped by the error. Nil accepts any.
	Want error
}

// sampleName matches names in lower_snake_case that end in their unit; load averages end in their time.
func sampleName() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*_(celsius|percent|pascals|bytes|seconds|lux|volts|amperes|watts|ohms|ppm|hertz|rpm|joules|meters|ph|ratio|count|state|uncertain|1m|5m|15m)$`)
}

// Run runs the contract as subtests of t, each in virtual time, so that a driver's waits cost nothing and a goroutine
// that it leaves behind is noticed.
func Run(t *testing.T, c Case) {
	t.Helper()
	if c.Hardware == nil {
		c.Hardware = c.playback
	}
	bubble := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	t.Run("sample configuration", func(t *testing.T) { checkSampleConfig(t, c.Driver) })
	t.Run("defaults", c.checkDefaults)
	bubble("read", c.checkRead)
	bubble("cancelled context", c.checkCancelled)
	for _, f := range slices.Concat(c.busFaults(), c.spiFaults(), c.Faults) {
		bubble(f.Name, func(t *testing.T) { c.checkFault(t, f) })
	}
}

// config returns the driver's configuration as the case wants it.
func (c *Case) config() sensors.Config {
	cfg := c.Driver.New()
	if c.Configure != nil {
		c.Configure(cfg)
	}
	return cfg
}

func (c *Case) checkDefaults(t *testing.T) {
	missing := slices.Clone(c.Required)
	c.Driver.New().Validate(func(key, msg string) {
		if !slices.Contains(c.Required, key) {
			t.Errorf("the default of %s: %s", key, msg)
		}
		missing = slices.DeleteFunc(missing, func(k string) bool { return k == key })
	})
	if len(missing) > 0 {
		t.Errorf("keys that a file must give, but need not: %v", missing)
	}
	c.config().Validate(func(key, msg string) { t.Errorf("the configuration of this case: %s: %s", key, msg) })
	if c.Driver.New() == c.Driver.New() {
		t.Error("New returned the same configuration twice")
	}
	c.checkPlace(t)
	if c.Driver.Type == "" || c.Driver.Doc == "" {
		t.Error("the driver has no type or no line of documentation")
	}
}

// checkPlace holds a driver whose chip is on a bus to saying where, so that two sensors in one place are found before they disturb each other.
func (c *Case) checkPlace(t *testing.T) {
	if len(c.Ops) == 0 && len(c.SPIOps) == 0 {
		return
	}
	cfg, ok := c.config().(sensors.Placed)
	if !ok {
		t.Fatal("the driver's Config does not say where its chip is: it needs a method Place() sensors.Place")
	}
	at := cfg.Place()
	switch {
	case len(c.SPIOps) > 0:
		if _, err := sensors.ParseSPI(at.SPI); err != nil {
			t.Errorf("Place: %v", err)
		}
	case !slices.ContainsFunc(c.Ops, func(op i2ctest.IO) bool { return int(op.Addr) == at.Address }):
		t.Errorf("Place says 0x%02x, the recorded conversation is with 0x%02x", at.Address, c.Ops[0].Addr)
	default:
		if _, err := sensors.ParseI2C(at.I2C); err != nil {
			t.Errorf("Place: %v", err)
		}
	}
}

func (c *Case) checkRead(t *testing.T) {
	first := c.readOnce(t)
	if len(first) == 0 {
		t.Error("Read returned no samples")
	}
	seen := map[string]bool{}
	for _, s := range first {
		if !sampleName().MatchString(s.Name) || seen[s.Name] {
			t.Errorf("sample name %q: want lower_snake_case, ending in its unit, once", s.Name)
		}
		seen[s.Name] = true
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			t.Errorf("%s = %g, want a finite value", s.Name, s.Value)
		}
	}
	second := c.readOnce(t)
	for i, s := range second {
		if i >= len(first) || s.Name != first[i].Name || (!c.Unstable && s.Value != first[i].Value) {
			t.Errorf("the same machine gave %v, then %v", first, second)
			break
		}
	}
}

// readOnce opens the working sensor, reads it once and halts it.
func (c *Case) readOnce(t *testing.T) []sensors.Sample {
	t.Helper()
	hw := c.Hardware(t)
	sensor, err := c.config().Open(t.Context(), hw)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if sensor.String() == "" {
		t.Error("String is empty")
	}
	samples, err := sensor.Read(t.Context())
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if p, ok := hw.(*Machine); ok {
		p.played(t)
	}
	if err := sensor.Halt(); err != nil {
		t.Errorf("Halt: %v", err)
	}
	return samples
}

func (c *Case) checkCancelled(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.config().Open(cancelled, c.Hardware(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a cancelled context: %v, want context.Canceled", err)
	}
	sensor, err := c.config().Open(t.Context(), c.Hardware(t))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if samples, err := sensor.Read(cancelled); !errors.Is(err, context.Canceled) || samples != nil {
		t.Errorf("Read with a cancelled context: %v, %v; want no samples and context.Canceled", samples, err)
	}
	_ = sensor.Halt() // a recorded conversation has no place for it here; it must return
}

// checkFault opens and reads a broken sensor: an error, the right one, no samples, and Halt still works.
func (c *Case) checkFault(t *testing.T, f Fault) {
	cfg := c.config()
	if f.Configure != nil {
		f.Configure(cfg)
	}
	sensor, err := cfg.Open(t.Context(), f.Hardware(t))
	if err == nil {
		var samples []sensors.Sample
		if samples, err = sensor.Read(t.Context()); samples != nil {
			t.Errorf("Read returned %v beside %v", samples, err)
		}
		_ = sensor.Halt() // may fail on a broken device, but must return
	} else if sensor != nil {
		t.Errorf("Open returned a sensor beside %v", err)
	}
	if err == nil {
		t.Fatal("neither Open nor Read noticed")
	}
	if f.Want != nil && !errors.Is(err, f.Want) {
		t.Errorf("%v, want an error that wraps %q", err, f.Want)
	}
}
