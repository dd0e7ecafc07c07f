package iio

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"iotagent/sensors"
)

// dht is a DHT22 on line 4 as the kernel's dht11 driver shows it, at 21.3 °C and 47.1 %.
func dht() map[string]string {
	return map[string]string{
		"dht11@4/iio:device0/name": "dht11@4\n", "dht11@4/iio:device0/dev": "254:0\n", "dht11@4/iio:device0/waiting_for_supplier": "0\n",
		"dht11@4/iio:device0/in_temp_input": "21300\n", "dht11@4/iio:device0/in_humidityrelative_input": "47100\n",
		"dht11@4/iio:device0/uevent": "MAJOR=254\nMINOR=0\nDEVNAME=iio:device0\nDEVTYPE=iio_device\n",
	}
}

func TestDHT(t *testing.T) {
	s, err := (&Config{}).Open(t.Context(), tree(t, dht()))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Read(t.Context())
	want := []sensors.Sample{{Name: "temperature_celsius", Value: 21.3}, {Name: "humidity_percent", Value: 47.1}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	if s.String() != "iio@dht11@4:dht11@4" {
		t.Error(s)
	}
}

// A frame that was missed is asked for again, 2 s later, while the deadline leaves the time; with an error that says more than ours.
func TestDHTMisses(t *testing.T) {
	for name, tt := range map[string]struct {
		answers  []error // of the temperature, then nil
		deadline time.Duration
		took     time.Duration
		want     error
	}{
		"once":              {[]error{unix.EIO}, 5 * time.Second, 2 * time.Second, nil},
		"twice":             {[]error{unix.ETIMEDOUT, unix.EIO}, 5 * time.Second, 4 * time.Second, nil},
		"no time":           {[]error{unix.EIO}, 2 * time.Second, 0, unix.EIO},
		"time for one":      {[]error{unix.EIO, unix.ETIMEDOUT}, 4 * time.Second, 2 * time.Second, sensors.ErrTimeout},
		"always":            {[]error{unix.EIO, unix.EIO, unix.EIO, unix.EIO}, time.Minute, 4 * time.Second, unix.EIO},
		"gone":              {[]error{unix.ENODEV}, time.Minute, 0, sensors.ErrAbsent},
		"broken, then gone": {[]error{unix.EIO, unix.ENODEV}, time.Minute, 2 * time.Second, sensors.ErrAbsent},
	} {
		t.Run(name, func(t *testing.T) {
			m := tree(t, dht())
			synctest.Test(t, func(t *testing.T) {
				s, err := (&Config{}).Open(t.Context(), m)
				if err != nil {
					t.Fatal(err)
				}
				answers := tt.answers
				s.(*device).attr = func(path string) (string, error) {
					if len(answers) > 0 {
						err := answers[0]
						answers = answers[1:]
						return "", err
					}
					return sensors.ReadAttr(path)
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				start := time.Now()
				got, err := s.Read(ctx)
				if !errors.Is(err, tt.want) || (err == nil) != (len(got) == 2) || time.Since(start) != tt.took {
					t.Errorf("%v, %v after %s; want %v after %s", got, err, time.Since(start), tt.want, tt.took)
				}
				if missed(err) && !strings.Contains(err.Error(), "4.7 kΩ") {
					t.Errorf("%v does not help", err)
				}
			})
		})
	}
}

// Another chip's EIO is told at once.
func TestOnlyDHTIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		d := opened(t, func(string) (string, error) {
			n++
			return "", unix.EIO
		})
		if _, err := d.Read(t.Context()); !errors.Is(err, unix.EIO) || n != 1 {
			t.Errorf("%v after %d reads", err, n)
		}
	})
}
