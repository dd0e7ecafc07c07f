package ds18b20

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
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

const (
	one   = "28-0316a2794bff"
	two   = "28-00000a1b2c3d"
	folds = "sys/bus/w1/devices/"
)

// slave is what the kernel writes into w1_slave for a scratchpad.
func slave(pad string, verdict string, milli int) string {
	crc := strings.Fields(pad)[8]
	return fmt.Sprintf("%s : crc=%s %s\n%s t=%d\n", pad, crc, verdict, pad, milli)
}

func tree(files map[string]string) func(*testing.T) sensors.Hardware {
	return func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, files) }
}

func file(text string) func(*testing.T) sensors.Hardware {
	return tree(map[string]string{folds + one + "/w1_slave": text, folds + "w1_bus_master1/w1_master_slaves": one + "\n"})
}

const good = "91 01 4b 46 7f ff 0f 10 25"

func TestContract(t *testing.T) {
	sensortest.Run(t, sensortest.Case{
		Driver:   Driver(),
		Hardware: file(slave(good, "YES", 25062)),
		Faults: []sensortest.Fault{
			{Name: "no 1-Wire", Hardware: tree(nil), Want: sensors.ErrAbsent},
			{Name: "no sensor", Hardware: tree(map[string]string{folds + "00-400000000000/id": ""}), Want: sensors.ErrAbsent},
			{Name: "two sensors", Hardware: tree(map[string]string{folds + one + "/id": "", folds + two + "/id": ""})},
			{
				Name: "another sensor", Hardware: file(slave(good, "YES", 25062)), Want: sensors.ErrAbsent,
				Configure: func(c sensors.Config) { c.(*Config).ID = two },
			},
			{Name: "unplugged and unlisted", Hardware: tree(map[string]string{folds + one + "/id": ""}), Want: sensors.ErrAbsent},
			{Name: "failed in the kernel", Hardware: file(""), Want: errNoData},
			{Name: "bad checksum", Hardware: file(slave("91 01 4b 46 7f ff 0f 10 26", "YES", 25062)), Want: sensors.ErrChecksum},
			{Name: "bus open", Hardware: file(slave("ff ff ff ff ff ff ff ff ff", "NO", -62)), Want: sensors.ErrChecksum},
			{Name: "bus shorted", Hardware: file(slave("00 00 00 00 00 00 00 00 00", "YES", 0))},
			{Name: "power-on value", Hardware: file(slave("50 05 4b 46 7f ff 0c 10 1c", "YES", 85000)), Want: errPowerOn},
			{Name: "power fault", Hardware: file(slave("ff 07 4b 46 7f ff 0c 10 a6", "YES", 127937))},
			{Name: "kernel disagrees", Hardware: file(slave(good, "YES", 25000)), Want: sensors.ErrChecksum},
			{Name: "one line", Hardware: file(good + " : crc=25 YES\n")},
			{Name: "eight bytes", Hardware: file("91 01 4b 46 7f ff 0f 10 : crc=25 YES\n91 01 4b 46 7f ff 0f 10 t=25062\n")},
			{Name: "temperature of a short circuit", Hardware: tree(map[string]string{folds + one + "/temperature": "0\n"})},
			{Name: "temperature at power-on", Hardware: tree(map[string]string{folds + one + "/temperature": "85000\n"})},
			{Name: "temperature is an error number", Hardware: tree(map[string]string{folds + one + "/temperature": "-2147483000\n"})},
		},
	})
}

func TestScratchpads(t *testing.T) {
	tests := []struct {
		pad   string
		milli int
	}{
		{good, 25062},
		{"72 01 4b 46 7f ff 0e 10 57", 23125},
		{"a2 00 4b 46 7f ff 0e 10 e5", 10125},
		{"5e ff 4b 46 7f ff 02 10 b6", -10125},
		{"f8 ff 4b 46 7f ff 08 10 f8", -500},
		{"90 fc 4b 46 7f ff 00 10 02", -55000},
		{"d0 07 4b 46 7f ff 0c 10 f4", 125000},
		{withCRC("50 05 4b 46 7f ff 10 10"), 85000}, // a true 85 °C
		{withCRC("00 00 4b 46 7f ff 10 10"), 0},     // a true 0 °C
	}
	for _, tt := range tests {
		got, err := parseScratchpads(strings.TrimSpace(slave(tt.pad, "YES", tt.milli)))
		if got != tt.milli || err != nil {
			t.Errorf("%s: %d, %v; want %d", tt.pad, got, err, tt.milli)
		}
	}
}

// withCRC adds the checksum to eight bytes.
func withCRC(pad string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(pad, " ", ""))
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%s %02x", pad, crc8(b))
}

func TestLowResolution(t *testing.T) {
	pad := withCRC("97 01 4b 46 1f ff 10 10") // 9 bits: the low three mean nothing
	for _, said := range []int{25000, 25437} {
		if got, err := parseScratchpads(slave(pad, "YES", said)); got != 25000 || err != nil {
			t.Errorf("kernel says %d: %d, %v; want 25000", said, got, err)
		}
	}
	if got, err := parseScratchpads(slave(pad, "YES", 25250)); err == nil {
		t.Errorf("kernel says 25250: %d and no error", got)
	}
}

func TestCRC8(t *testing.T) {
	for in, want := range map[string]byte{"021cb801000000": 0xa2, "28ff641e0f1603": 0x90} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := crc8(b); got != want {
			t.Errorf("crc8(%s) = %02x, want %02x", in, got, want)
		}
	}
}

func TestTemperatureFile(t *testing.T) {
	cfg := Driver().New()
	s, err := cfg.Open(t.Context(), sensortest.Tree(t, map[string]string{folds + one + "/temperature": "-10125\n"}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Read(t.Context())
	if diff := cmp.Diff([]sensors.Sample{{Name: "temperature_celsius", Value: -10.125}}, got); diff != "" || err != nil {
		t.Errorf("Read: %v (-want +got):\n%s", err, diff)
	}
}

func TestSeveralSensorsAreListed(t *testing.T) {
	hw := sensortest.Tree(t, map[string]string{folds + one + "/id": "", folds + two + "/id": ""})
	_, err := (&Config{}).Open(t.Context(), hw)
	if err == nil || !strings.Contains(err.Error(), two+", "+one) || errors.Is(err, sensors.ErrAbsent) {
		t.Errorf("Open: %v, want it to list both and not to call them absent", err)
	}
}

// A first read that a signal broke off is empty; the second is whole. There is no third, and none after the deadline.
func TestFailedReadIsTriedOnceMore(t *testing.T) {
	tests := []struct {
		name    string
		answers []string
		took    time.Duration
		want    error
	}{
		{"empty, then good", []string{"", slave(good, "YES", 25062)}, 0, nil},
		{"damaged, then good", []string{slave("ff ff ff ff ff ff ff ff ff", "NO", -62), slave(good, "YES", 25062)}, 0, nil},
		{"power-on value, then good", []string{slave("50 05 4b 46 7f ff 0c 10 1c", "YES", 85000), slave(good, "YES", 25062)}, 0, nil},
		{"empty twice", []string{"", ""}, 0, errNoData},
		{"empty at the deadline", []string{""}, 2 * time.Second, sensors.ErrTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				d := &device{id: one, attr: func(string) (string, error) {
					time.Sleep(tt.took)
					n++
					return tt.answers[n-1], nil
				}}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				got, err := d.Read(ctx)
				if !errors.Is(err, tt.want) || (err == nil && got[0].Value != 25.062) || n != len(tt.answers) {
					t.Errorf("Read: %v, %v after %d attempts; want %v after %d", got, err, n, tt.want, len(tt.answers))
				}
			})
		})
	}
}

func answer(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// A kernel that does not answer costs the sampler its deadline and no more.
func TestHangingKernel(t *testing.T) {
	hw := sensortest.Tree(t, map[string]string{folds + one + "/id": ""})
	path := filepath.Join(hw.Root(), folds, one, "w1_slave")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	common := sensors.Common{Name: "flow", Type: "ds18b20"}
	common.Timeout.Duration = 50 * time.Millisecond
	s := sensors.NewSampler(common, &Config{}, hw, &sensors.SamplerOptions{Grace: 50 * time.Millisecond})
	r, _ := s.Once(t.Context())
	if r.Quality != sensors.Failed || !strings.Contains(r.Reason, "hanging") {
		t.Errorf("reading: %+v, want one that says the read hangs", r)
	}
	if err := answer(path, ""); err != nil { // lets the goroutine go that was left behind
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for id, ok := range map[string]bool{
		"": true, one: true, "28-0316A2794BFF": false, "10-0316a2794bff": false, "28-0316": false, "../../etc": false, one + "/x": false,
	} {
		valid := true
		(&Config{ID: id}).Validate(func(string, string) { valid = false })
		if valid != ok {
			t.Errorf("id %q: valid %t, want %t", id, valid, ok)
		}
	}
}

// Whatever the file says, there is a temperature within the chip's range or an error.
func FuzzParse(f *testing.F) {
	f.Add(slave(good, "YES", 25062))
	f.Add(slave("ff ff ff ff ff ff ff ff ff", "NO", -62))
	f.Add(slave("00 00 00 00 00 00 00 00 00", "YES", 0))
	f.Add("85000")
	f.Add("-10125")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		for name, parse := range map[string]func(string) (int, error){"w1_slave": parseScratchpads, "temperature": parseTemperature} {
			if milli, err := parse(text); err == nil && (milli < -55000 || milli > 125000) {
				t.Errorf("%s %q gave %d m°C", name, text, milli)
			}
		}
	})
}
