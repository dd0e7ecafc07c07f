package modbus

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/sensors"
)

// mixed is a line on which unit 9 is dead and the others answer after 20 ms.
func mixed() *wire {
	return newWire(func(w *wire, f []byte) {
		if f[0] != 9 {
			w.send(20*time.Millisecond, rtuFrame(f[0], memory(f[1:6])))
		}
	})
}

// A dead unit costs the others one response_timeout each time that it is asked, and it is asked less and less often.
func TestDeadUnitStallsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, hw, began := mixed(), machine(t), time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var longest, slowest time.Duration
		readings := 0
		done := make(chan struct{})
		sample := func(s sensors.Sensor, each func(took time.Duration, err error)) {
			for ctx.Err() == nil {
				asked := time.Now()
				_, err := s.Read(ctx)
				if ctx.Err() == nil {
					each(time.Since(asked), err)
					time.Sleep(time.Second - time.Since(asked)%time.Second)
				}
			}
			_ = s.Halt()
			done <- struct{}{}
		}
		unit := func(n int) sensors.Sensor { return open(t, serialConfig(w, n, holding("a_volts", n)), hw) }
		go sample(unit(9), func(took time.Duration, err error) {
			if slowest = max(slowest, took); !errors.Is(err, sensors.ErrTimeout) {
				t.Errorf("the dead unit: %v", err)
			}
		})
		go sample(unit(1), func(took time.Duration, err error) {
			readings++
			if longest = max(longest, took); err != nil {
				t.Errorf("the live unit: %v", err)
			}
		})
		time.Sleep(10*time.Minute + 100*time.Millisecond)
		cancel()
		<-done
		<-done
		var asked []time.Duration
		for i, f := range w.frames {
			if f[0] == 9 {
				asked = append(asked, w.sent[i].Sub(began))
			}
		}
		for i, seconds := range []time.Duration{1, 5, 10, 20, 40, 60, 60, 60} {
			// The attempt takes 1 s, then comes the rest, and the next tick up to 1 s after it.
			if gap, least := asked[i+1]-asked[i], time.Second+seconds*time.Second; gap < least || gap > least+time.Second+100*time.Millisecond {
				t.Errorf("the dead unit was asked at %v: want a rest of %d s after attempt %d", asked, seconds, i)
			}
		}
		if len(asked) > 16 {
			t.Errorf("the dead unit was asked at %v", asked)
		}
		if limit := time.Second + 60*time.Millisecond; longest > limit || slowest > limit || readings < 590 {
			t.Errorf("%d readings, the longest %s, of the dead unit %s; want at most %s", readings, longest, slowest, limit)
		}
	})
}

// A unit that comes back is found when its rest is over, and then asked as before.
func TestUnitComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := true
		w := newWire(func(w *wire, f []byte) {
			if !dead {
				w.send(20*time.Millisecond, rtuFrame(f[0], memory(f[1:6])))
			}
		})
		s := open(t, serialConfig(w, 1, holding("a_volts", 5)), machine(t))
		for range 300 {
			_, _ = s.Read(t.Context())
			time.Sleep(time.Second)
		}
		dead = false
		_, err := s.Read(t.Context())
		if err == nil || !strings.Contains(err.Error(), "no answer within 1s: timed out (asked again in ") {
			t.Errorf("while it rests: %v", err)
		}
		time.Sleep(longestRest)
		for range 3 {
			if got, err := valuesOf(t.Context(), s); !slices.Equal(got, []float64{5}) || err != nil {
				t.Errorf("afterwards: %v, %v", got, err)
			}
		}
		_ = s.Halt()
	})
}

// A unit that refuses is not dead: it is asked each time, and asked twice when it then falls silent.
func TestExceptionIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := false
		w := newWire(func(w *wire, f []byte) {
			if !silent {
				w.send(time.Millisecond, rtuFrame(f[0], []byte{f[1] | exceptionFlag, 6}))
			}
		})
		s := open(t, serialConfig(w, 1, holding("a_volts", 5)), machine(t))
		for range 5 {
			if _, err := s.Read(t.Context()); !errors.Is(err, ExceptionError(6)) {
				t.Errorf("got %v", err)
			}
		}
		if len(w.frames) != 5 {
			t.Errorf("asked %d times", len(w.frames))
		}
		silent = true
		if _, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrTimeout) || len(w.frames) != 7 {
			t.Errorf("silent: %v, asked %d times", err, len(w.frames)-5)
		}
		_ = s.Halt()
	})
}

// A reading whose own unit is silent is not told that others keep the line; neither is anyone told to wait for no time.
func TestOwnTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, serialConfig(mixed(), 9, holding("a_volts", 5)), machine(t))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || !strings.Contains(err.Error(), "no answer within 100ms: ") {
			t.Errorf("got %v", err)
		}
		_ = s.Halt()
	})
	synctest.Test(t, func(t *testing.T) {
		h := &health{}
		h.fail(sensors.ErrTimeout, time.Second)
		time.Sleep(time.Second - time.Millisecond)
		if err := h.resting(); err == nil || !strings.Contains(err.Error(), "asked again in 100ms") {
			t.Errorf("got %v", err)
		}
	})
}

// A caller whose time is up leaves, and is told who holds the line.
func TestCallerWhoseTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hw, w := machine(t), mixed()
		dead, live := open(t, serialConfig(w, 9, holding("a_volts", 5)), hw), open(t, serialConfig(w, 1, holding("a_volts", 5)), hw)
		go func() { _, _ = dead.Read(t.Context()) }()
		time.Sleep(10 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := live.Read(ctx)
		if !errors.Is(err, sensors.ErrTimeout) || !strings.Contains(err.Error(), "the line has been busy with unit 9 for 110ms") {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Second)
		if got, err := valuesOf(t.Context(), live); !slices.Equal(got, []float64{5}) || err != nil || len(w.frames) != 2 {
			t.Errorf("afterwards: %v, %v, %d requests; want none from the caller who left", got, err, len(w.frames))
		}
		_, _ = dead.Halt(), live.Halt()
	})
}

// A unit is not asked a second time for a caller who has left.
func TestNothingIsAskedForOneWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(func(w *wire, f []byte) {
			if len(w.frames) == 1 {
				w.send(0, rtuFrame(f[0], memory(f[1:6])))
			}
		})
		s := open(t, serialConfig(w, 1, holding("a_volts", 5)), machine(t))
		if _, err := s.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("got %v", err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(w.frames) != 2 {
			t.Errorf("asked %d times", len(w.frames)-1)
		}
		_ = s.Halt()
	})
}

// The end does not wait for a unit, and nobody is left waiting.
func TestCloseBreaksOff(t *testing.T) {
	for name, c := range map[string]*Config{
		"rtu": serialConfig(nil, 9, holding("a_volts", 5)),
		"tcp": tcpConfig(func(int, int, []byte) []byte { return []byte{} }, 9, holding("a_volts", 5)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.ports.serial = func(address) (serialPort, error) { return mixed(), nil }
				hw := sensors.NewHardware(t.TempDir(), nil)
				s := open(t, c, hw)
				read := make(chan error)
				go func() {
					_, err := s.Read(t.Context())
					read <- err
				}()
				time.Sleep(10 * time.Millisecond)
				began := time.Now()
				if err := hw.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				if err := <-read; err == nil || time.Since(began) != 0 {
					t.Errorf("the reading: %v after %s", err, time.Since(began))
				}
				if _, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrClosed) {
					t.Errorf("afterwards: %v", err)
				}
				if err := s.Halt(); err != nil {
					t.Errorf("Halt: %v", err)
				}
			})
		})
	}
}

// A host that is not there is not dialled at each reading.
func TestDialsAreSpacedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		c := tcpConfig(nil, 1, holding("a_volts", 5))
		c.ports.tcp = func(context.Context, string) (net.Conn, error) {
			dials++
			time.Sleep(3 * time.Second)
			return nil, sensors.ErrTimeout
		}
		s := open(t, c, machine(t))
		for range 600 {
			if _, err := s.Read(t.Context()); !errors.Is(err, errNotOpen) {
				t.Fatalf("got %v", err)
			}
			time.Sleep(time.Second)
		}
		if dials < 10 || dials > 16 {
			t.Errorf("%d dials in ten minutes", dials)
		}
		_ = s.Halt()
		if h := s.(*device).line.units[1]; h.failures != 0 {
			t.Errorf("the unit is blamed for it: %+v", h)
		}
	})
}

// The last of the sensors on a line closes it.
func TestLineIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened, hw, w := 0, machine(t), answering(20*time.Millisecond)
		unit := func(n int) *Config {
			c := serialConfig(w, n, holding("a_volts", n))
			c.ports.serial = func(address) (serialPort, error) {
				opened++
				return w, nil
			}
			return c
		}
		a, b := open(t, unit(1), hw), open(t, unit(2), hw)
		other := unit(3)
		other.Baud = 19200
		if _, err := other.Open(t.Context(), hw); err == nil || !strings.Contains(err.Error(), "other settings") {
			t.Errorf("another speed: %v", err)
		}
		for i, s := range []sensors.Sensor{a, b, a} {
			if _, err := s.Read(t.Context()); err != nil {
				t.Errorf("reading %d: %v", i, err)
			}
		}
		if err := a.Halt(); err != nil || opened != 1 || w.broken != nil {
			t.Errorf("Halt of the first: %v, opened %d times, %v", err, opened, w.broken)
		}
		if err := b.Halt(); err != nil || w.broken == nil {
			t.Errorf("Halt of the last: %v, and the port is open", err)
		}
	})
}
