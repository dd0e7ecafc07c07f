package e2e

import (
	"strings"
	"testing"
	"time"

	"iotagent/hubsim"
)

// A sensor that hangs says so in its readings; the other one goes on, and so does the stop.
func TestSensorHangs(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{blocks: simulated("boiler") + simulated("stuck", `fault = "hang"`, `hang_for = "10m"`, `timeout = "300ms"`)})
	d := b.run()
	h.until("readings of both", func() bool { return h.readings("boiler") >= 15 && h.readings("stuck") >= 3 })
	s := b.status()
	for _, x := range s.Sensors {
		switch {
		case x.Name == "boiler" && x.Errors != 0:
			t.Errorf("boiler: %d errors", x.Errors)
		case x.Name == "stuck" && (x.Quality != "stale" || !strings.Contains(x.Reason, "does not answer")):
			t.Errorf("stuck: %q, %q", x.Quality, x.Reason)
		}
	}
	for _, quality := range []string{"error", "stale"} { // the first, and those that follow
		if all := bodies(h.messages()); !strings.Contains(all, `"quality":"`+quality+`","reason":"the read has been hanging for`) {
			t.Errorf("the cloud does not hear of it: %s", all)
		}
	}
	b.do(1, "", "read", "stuck").mentions("does not answer", "hint: the daemon is running")
	if n := strings.Count(d.log.String(), "sensor=stuck"); n > 4 {
		t.Errorf("%d lines of log about it", n)
	}
	begun := time.Now()
	d.stop()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the stop took %s", took)
	}
	h.whole()
}

func TestRead(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{blocks: simulated("boiler") + simulated("broken", `fault = "error"`)})
	b.do(0, "", "read", "boiler").mentions("boiler", "good", "temperature_celsius")
	b.do(1, "", "read").mentions("boiler", "broken", "simulated failure", "a sensor could not be read")
	b.do(80, "", "read", "boilr").mentions(`no sensor "boilr"`, "boiler, broken")
	b.do(1, "", "check", "--probe").mentions("simulated failure")
	b.configure(settings{blocks: simulated("boiler")})
	b.do(0, "", "check", "--probe")
	b.configure(settings{blocks: simulated("boiler", `limits = [{ sample = "pressure_pascals", max = 2 }, { sample = "temperature_celsius", min = 0 }]`)})
	b.do(0, "", "check", "--probe").mentions(`sensor "boiler": calibration, limits or deadband name pressure_pascals, which this reading does not have; it has temperature_celsius`)
}

// A scan needs no configuration, and finding nothing is no failure.
func TestScan(t *testing.T) {
	t.Parallel()
	b := gateway(t, newHub(t, hubsim.Options{}), settings{})
	b.do(0, "", "scan", "--no-probe").mentions("sensor")
	b.do(0, "", "scan", "--no-probe", "--json").mentions(`"i2c": [`, `"config": "`)
	b.do(80, "", "scan", "--bus", "one").mentions("one")
	b.do(80, "", "scan", "boiler")
}
