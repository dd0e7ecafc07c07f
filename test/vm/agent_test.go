//go:build vmguest

package vm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// noHub stands in for the hub where the agent does not talk to it.
const noHub = `[hub]
connection_string = "HostName=127.0.0.1;DeviceId=vm;SharedAccessKey=dm0="
`

// taken is one line of `iotagent read --json`.
type taken struct {
	Sensor, Type, Device, Quality, Reason string
	Values                                map[string]float64
}

// configFile writes a configuration.
func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "iotagent.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readAll takes one reading of each sensor, by their names.
func readAll(t *testing.T, sensors string) map[string]taken {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/iotagent", "--config", configFile(t, noHub+sensors), "read", "--json")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	readings := map[string]taken{}
	for line := range strings.Lines(string(out)) {
		var r taken
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("iotagent read printed %q: %v", line, err)
		}
		readings[r.Sensor] = r
	}
	if len(readings) == 0 {
		t.Fatalf("iotagent read: %v\n%s", err, errs.Bytes())
	}
	return readings
}

// good checks that a reading holds exactly these values.
func good(t *testing.T, r taken, values map[string]float64) {
	t.Helper()
	if r.Quality != "good" {
		t.Errorf("%s is %q: %s", r.Sensor, r.Quality, r.Reason)
		return
	}
	if fmt.Sprint(r.Values) != fmt.Sprint(values) {
		t.Errorf("%s (%s) reads %v, want %v", r.Sensor, r.Device, r.Values, values)
	}
}

// bad checks that a reading failed without a value, and that the reason holds all of the words.
func bad(t *testing.T, r taken, words ...string) {
	t.Helper()
	if r.Quality != "error" || len(r.Values) != 0 {
		t.Errorf("%s is %q with %v, want an error and no values", r.Sensor, r.Quality, r.Values)
	}
	for _, word := range words {
		if !strings.Contains(r.Reason, word) {
			t.Errorf("%s says %q, want %q in it", r.Sensor, r.Reason, word)
		}
	}
}

// Sensors as in a configuration.
func airSensor(bus int) string {
	return fmt.Sprintf("[[sensor]]\nname = \"air\"\ntype = \"bme280\"\nbus = \"%d\"\naddress = 0x76\n", bus)
}

func iioSensor(chip string) string {
	return fmt.Sprintf("[[sensor]]\nname = \"kernel-air\"\ntype = \"iio\"\nchip = %q\n", chip)
}

func waterSensor(id string) string {
	return fmt.Sprintf("[[sensor]]\nname = \"water\"\ntype = \"ds18b20\"\nid = %q\ntimeout = \"30s\"\n", id)
}
