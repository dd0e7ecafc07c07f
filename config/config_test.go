package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"iotagent/c2d"
	"iotagent/internal/quantity"
	"iotagent/sensors"
)

func seconds(n int) quantity.Duration { return quantity.Seconds(n) }

// same compares configurations by what their users see.
func same() cmp.Option {
	return cmp.Options{
		cmpopts.IgnoreUnexported(Hub{}, fakeDS{}),
		cmp.Comparer(func(a, b quantity.Duration) bool { return a == b }),
		cmp.Comparer(func(a, b quantity.Bytes) bool { return a == b }),
		cmp.Comparer(func(a, b Secret) bool { return a.Text() == b.Text() }),
		cmpopts.EquateEmpty(),
		cmpopts.IgnoreTypes(fakeSensor{}, fakeCommand{}),
	}
}

func TestLoadMergesConfD(t *testing.T) {
	const main, second = "testdata/good/iotagent.toml", "testdata/good/conf.d/20-more.toml"
	got, err := Load(main, fakes())
	if err != nil {
		t.Fatal(err)
	}
	state, err := filepath.Abs("testdata/good/state")
	if err != nil {
		t.Fatal(err)
	}
	limit := 5
	want := defaults(main)
	want.Hub.ConnectionStringFile, want.Hub.CAFile, want.Hub.Port, want.Hub.TokenTTL = "connection-string", "ca.pem", 443, seconds(1800)
	want.Agent.StateDir = state
	want.Outbox.MinFree = &quantity.Bytes{N: 100 << 20}
	want.Metrics.Listen = "127.0.0.1:9464"
	want.Outbox.MaxLoss, want.Telemetry.FlushInterval = seconds(60), seconds(2)
	want.Sensors = []Sensor{
		{
			Common: sensors.Common{Name: "boiler", Type: "bme280", Interval: seconds(2), Timeout: seconds(2), Lane: "normal", Thin: "none"},
			Config: &fakeBME{Bus: "1", Address: 0x77, Enabled: true, Gain: 1, Limit: &limit, Trim: trim{Offset: -1}}, File: main, Line: 9,
		},
		{
			Common: sensors.Common{Name: "tank.2", Type: "bme280", Interval: seconds(10), Timeout: seconds(7), Lane: "bulk", Thin: "none"},
			Config: &fakeBME{
				Bus: "1", Address: 0x76, Enabled: true, Gain: 1, Trim: trim{Gain: 1.5},
				Settle: quantity.Duration{Duration: 250 * time.Millisecond},
			}, File: main, Line: 19,
		},
		{
			Common: sensors.Common{Name: "pipe", Type: "ds18b20", Interval: seconds(10), Timeout: seconds(5), Lane: "normal", Thin: "mean"},
			Config: &fakeDS{ID: "28-0000"}, File: second, Line: 22,
		},
	}
	want.Commands = []Command{
		{
			Common: c2d.Common{Name: "relay", Type: "gpio", Timeout: seconds(30), SettleWithin: seconds(10)},
			Config: &fakeGPIO{Pin: "GPIO17", Safe: "low"}, File: main, Line: 27,
		},
		{
			Common: c2d.Common{Name: "restart", Type: "exec", Timeout: seconds(60), SettleWithin: seconds(20)},
			Config: &fakeExec{
				Path: "/usr/lib/handlers/restart", Args: []string{"--soft", "--now"}, Env: map[string]string{"PATH": "/bin", "LC_ALL": "C"},
				Output: quantity.Bytes{N: 64 << 10}, Steps: []trim{{Offset: 1}, {Gain: 2}},
			}, File: second, Line: 4,
		},
	}
	if diff := cmp.Diff(want, got, same()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseForms(t *testing.T) {
	want := defaults("f.toml")
	want.Hub.Host, want.Hub.DeviceID, want.Hub.KeyFile = "h.example", "pi", "k"
	for name, text := range map[string]string{
		"plain":       "[hub]\nhost = \"h.example\"\ndevice_id = \"pi\"\nkey_file = \"k\"\n",
		"no newline":  "[hub]\nhost = \"h.example\"\ndevice_id = \"pi\"\nkey_file = \"k\"",
		"windows":     "\ufeff[hub]\r\nhost = \"h.example\"\r\ndevice_id = \"pi\"\r\nkey_file = 'k'\r\n",
		"dotted":      "hub.host = \"h.example\"\nhub.device_id = \"pi\"\nhub . key_file = \"k\"\n",
		"inline":      "hub = { host = \"h.example\", device_id = \"pi\", key_file = \"k\" }\n",
		"quoted keys": "['hub']\n\"host\" = \"\"\"h.example\"\"\"\n'device_id' = \"\\u0070i\"\nkey_file = '''k'''\n",
		"empty array": "sensor = []\n[hub]\nhost = \"h.example\"\ndevice_id = \"pi\"\nkey_file = \"k\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse("f.toml", []byte(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, same()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestInlineBlocks(t *testing.T) {
	const text = `sensor = [{ name = "a", type = "ds18b20", id = "1" }, { name = "b", type = "ds18b20", interval = "1s" }]
[hub]
connection_string_file = "cs"
`
	f, err := Parse("f.toml", []byte(text), fakes())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Sensors) != 2 {
		t.Fatalf("got %+v", f.Sensors)
	}
	if ds, ok := f.Sensors[0].Config.(*fakeDS); !ok || ds.ID != "1" || f.Sensors[1].Timeout != seconds(1) || f.Sensors[1].Line != 1 {
		t.Errorf("got %+v", f.Sensors)
	}
}

func TestWarnings(t *testing.T) {
	const hub = "[hub]\nconnection_string_file = \"cs\"\n"
	for _, tc := range []struct{ text, want string }{
		{hub, ""},
		{hub + "[outbox]\nmax_loss = \"5s\"\n", "f:4:12: outbox.max_loss: messages will be sealed after half of outbox.max_loss (5s), which is not longer than telemetry.flush_interval (5s), and be written to the disk unless the hub has them within the other half"},
		{hub + "[telemetry]\nflush_interval = \"1m\"\n", "f:4:18: telemetry.flush_interval: messages will be sealed after half of outbox.max_loss (10s), which is not longer than telemetry.flush_interval (1m), and be written to the disk unless the hub has them within the other half"},
		{hub + "[outbox]\nmax_loss = \"0s\"\n", "f:4:12: outbox.max_loss: every reading will be a message of its own and be written to the disk before it is sent, because outbox.max_loss is 0s"},
	} {
		f, err := Parse("f", []byte(tc.text), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Warnings.Error(); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}

func TestLoadAbsent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "iotagent.toml")
	_, err := Load(path, nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v; want it to wrap fs.ErrNotExist", err)
	}
	if got, want := fmt.Sprint(err), path+": no such file"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestLoadNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir, nil); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: got %v", err)
	}
	path := filepath.Join(dir, "big.toml")
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a large file: got %v", err)
	}
	path = filepath.Join(dir, "iotagent.toml")
	if err := os.WriteFile(path, []byte("[hub]\nconnection_string_file = \"cs\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "conf.d", "a.toml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "a.toml: cannot be read: is a directory") {
		t.Errorf("a directory in conf.d: got %v", err)
	}
}

func TestTypesWithoutLists(t *testing.T) {
	_, err := Parse("f", []byte("[hub]\nconnection_string_file = \"cs\"\n[[sensor]]\nname = \"a\"\ntype = \"bme280\"\n"), nil)
	if got, want := fmt.Sprint(err), `f:5:8: sensor[a].type: unknown type "bme280"`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	const text = "[hub]\nconnection_string = \"HostName=h.example;DeviceId=pi;SharedAccessKey=c2VjcmV0\"\n"
	f, err := Parse("f", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Hub.Credentials(nil)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "file", f, "hub", f.Hub, "secret", f.Hub.ConnectionString, "credentials", c)
	wrapped := struct {
		c Credentials
		h Hub
	}{c, f.Hub}
	for _, s := range []string{
		fmt.Sprintf("%v %+v %#v", f, f, f), fmt.Sprintf("%v %+v %#v", f.Hub, f.Hub, f.Hub), fmt.Sprintf("%v %+v %#v", c, c, c),
		fmt.Sprintf("%v %+v %#v", wrapped, wrapped, wrapped), log.String(),
	} {
		if strings.Contains(s, "c2VjcmV0") || strings.Contains(s, "secret ") || strings.Contains(s, "SharedAccess") || strings.Contains(s, "115 101 99") {
			t.Errorf("a secret shows: %s", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	names, err := filepath.Glob("testdata/broken/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(names, "testdata/good/iotagent.toml", "testdata/good/conf.d/20-more.toml") {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse("f.toml", data, fakes())
		if (err == nil) == (got == nil) {
			t.Fatalf("got (%v, %v)", got, err)
		}
		if err == nil {
			return
		}
		errs, ok := errors.AsType[Errors](err)
		if !ok {
			t.Fatalf("got a %T", err)
		}
		for _, e := range errs {
			if e.Msg == "" || e.File != "f.toml" {
				t.Errorf("got %+v", e)
			}
			within(t, e, data)
			if strings.ContainsAny(e.Error(), "\n\x00\x1b") {
				t.Errorf("%q is more than one line", e.Error())
			}
		}
	})
}
