package execsensor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// modeEnv makes this test binary a sensor's program.
const modeEnv = "EXECSENSOR_TEST"

// fastExit keeps the race detector from waiting a second at the end of each program.
const fastExit = "GORACE=atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeEnv); mode != "" {
		os.Exit(play(mode))
	}
	os.Exit(m.Run())
}

func play(mode string) int {
	name, arg, _ := strings.Cut(mode, ":")
	switch name {
	case "print":
		fmt.Print(arg)
	case "flood":
		fmt.Print("1" + strings.Repeat(" ", 1<<20))
	case "exit":
		n, _ := strconv.Atoi(arg)
		fmt.Println("21.5")
		fmt.Fprintln(os.Stderr, "opening the valve\nvalve is jammed ")
		return n
	case "suicide":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Hour)
	case "sleep":
		fmt.Fprintln(os.Stderr, "waiting for the meter")
		_ = os.WriteFile(arg, []byte("ready"), 0o600)
		time.Sleep(time.Hour)
	case "env":
		dir, _ := os.Getwd()
		fmt.Fprintln(os.Stderr, dir+" "+os.Getenv("TZ")+" "+os.Getenv("IOTAGENT_SECRET")+strings.Join(os.Args[1:], "|"))
		return 1
	}
	return 0
}

// running is a configuration whose program does what mode says.
func running(mode string) *Config {
	return &Config{Path: os.Args[0], Env: []string{modeEnv + "=" + mode, fastExit}, Sample: "level_percent"}
}

func configure(mode string) func(sensors.Config) {
	return func(c sensors.Config) { *c.(*Config) = *running(mode) }
}

func TestContract(t *testing.T) {
	broken := func(name, mode string, want error) sensortest.Fault {
		return sensortest.Fault{Name: name, Hardware: noHardware, Configure: configure(mode), Want: want}
	}
	gone := broken("no program", "print:1", sensors.ErrAbsent)
	gone.Configure = func(c sensors.Config) { c.(*Config).Path = "/nonexistent/program" }
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(), Configure: configure(`print:{"temperature_celsius": 21.5, "humidity_percent": 45}`), Hardware: noHardware, Required: []string{"path"},
		Faults: []sensortest.Fault{
			gone, broken("exit status", "exit:3", nil), broken("signal", "suicide", nil), broken("nothing printed", "print:", nil),
			broken("flood", "flood", nil), broken("text", "print:warm", nil), broken("not finite", "print:NaN", nil),
		},
	})
}

func noHardware(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) }

func TestReasons(t *testing.T) {
	t.Setenv("IOTAGENT_SECRET", "hunter2")
	t.Setenv("TZ", "UTC")
	for mode, want := range map[string]string{
		"exit:3":  ": exit status 3: valve is jammed",
		"suicide": ": was ended by signal 9 (killed)",
		"flood":   ": it printed more than 64 KiB",
		"env":     ": exit status 1: /usr UTC a|$HOME; b",
	} {
		c := running(mode)
		if mode == "env" {
			c.Args, c.Dir, c.Env = []string{"a", "$HOME; b"}, "/usr", append(c.Env, "TZ")
		}
		s, err := c.Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		samples, err := s.Read(t.Context())
		if samples != nil || err == nil || !strings.HasPrefix(err.Error(), "exec@"+os.Args[0]+want) {
			t.Errorf("%s: %v, %v", mode, samples, err)
		}
	}
}

// At the end of its time the program is ended, and the reading says that, and what the program said last.
func TestTimeout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := running("sleep:"+file).Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		cause error
		want  error
	}{{context.DeadlineExceeded, sensors.ErrTimeout}, {context.Canceled, context.Canceled}} {
		ctx := &endless{Context: t.Context(), done: make(chan struct{}), err: tt.cause}
		go func() {
			_, _ = os.ReadFile(file) // until the program has written to it
			close(ctx.done)
		}()
		samples, err := s.Read(ctx)
		if samples != nil || !errors.Is(err, tt.want) || !strings.HasSuffix(err.Error(), ": waiting for the meter") {
			t.Errorf("%v: %v, %v", tt.cause, samples, err)
		}
	}
}

// endless is a context that ends when done is closed, as err says.
type endless struct {
	context.Context
	done chan struct{}
	err  error
}

func (c *endless) Done() <-chan struct{} { return c.done }

func (c *endless) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

func TestParse(t *testing.T) {
	one := func(v float64) []sensors.Sample { return []sensors.Sample{{Name: "level_percent", Value: v}} }
	for _, tt := range []struct {
		text string
		want []sensors.Sample
		err  string
	}{
		{"21.5\n", one(21.5), ""},
		{" -3e2 ", one(-300), ""},
		{"+7", one(7), ""},
		{`{"b_celsius": 2, "a_ratio": -0.5}`, []sensors.Sample{{Name: "b_celsius", Value: 2}, {Name: "a_ratio", Value: -0.5}}, ""},
		{"", nil, "printed nothing"},
		{" \n", nil, "printed nothing"},
		{"21,5", nil, "write a decimal point"},
		{"NaN", nil, "NaN, which is no number"},
		{"inf", nil, "inf, which is no number"},
		{"0x10", nil, "no number"},
		{"1 2", nil, "no number"},
		{"1e999", nil, "too large"},
		{"warm\nvery", nil, "it printed warm…, which"},
		{strings.Repeat("x", 100), nil, strings.Repeat("x", 60) + "…,"},
		{"[1]", nil, "[1], which is no number"},
		{"{}", nil, "no values"},
		{`{"a_ratio": 1`, nil, "its JSON"},
		{`{"a_ratio": 1} {}`, nil, "more than one"},
		{`{"a_ratio": NaN}`, nil, `its JSON, at "a_ratio"`},
		{`{"a_ratio": 1e999}`, nil, `"a_ratio" is 1e999, which is too large`},
		{`{"a_ratio": {"x_ratio": 1}}`, nil, `"a_ratio" is an object: want numbers only`},
		{`{"a_ratio": [1]}`, nil, "is a list"},
		{`{"a_ratio": "1"}`, nil, "is text"},
		{`{"a_ratio": true}`, nil, "is true or false"},
		{`{"a_ratio": null}`, nil, "is null"},
		{`{"a_ratio": 1, "a_ratio": 2}`, nil, "stands twice"},
		{`{"time": 1}`, nil, "ends in its unit"},
		{`{"Temp_celsius": 1}`, nil, "lower case"},
	} {
		got, err := parse(tt.text, "level_percent")
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", tt.text, diff)
		}
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: error %v, want %q", tt.text, err, tt.err)
		}
	}
	if _, err := parse("5", ""); err == nil || !strings.Contains(err.Error(), `sample = "…"`) {
		t.Errorf("without a name: %v", err)
	}
	var many strings.Builder
	for i := range 65 {
		fmt.Fprintf(&many, `,"v%d_ratio":%d`, i, i)
	}
	if _, err := parse("{"+many.String()[1:]+"}", ""); err == nil || !strings.Contains(err.Error(), "more than 64") {
		t.Errorf("65 values: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"21.5", `{"a_ratio": 1, "b_celsius": -2e3}`, `{"a_ratio": [1, {}]}`, "{", "NaN", "1e999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		samples, err := parse(text, "level_percent")
		if (err == nil) == (len(samples) == 0) {
			t.Fatalf("%d samples beside %v", len(samples), err)
		}
		seen := map[string]bool{}
		for _, s := range samples {
			if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) || !isSampleName(s.Name) || seen[s.Name] {
				t.Fatalf("%+v", samples)
			}
			seen[s.Name] = true
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		keys string
	}{
		{Config{}, "path"},
		{Config{Path: "bin/x", Dir: "y", Env: []string{"=x"}}, "path dir env"},
		{Config{Path: "/bin/x", Args: []string{"\x00"}, Sample: "Level"}, "args sample"},
		{Config{Path: "/bin/x", Sample: "level"}, "sample"},
		{Config{Path: "/bin/x", Dir: "/", Sample: "level_percent", Env: []string{"TZ", "A=b"}}, ""},
	} {
		var keys []string
		tt.c.Validate(func(key, _ string) { keys = append(keys, key) })
		if got := strings.Join(keys, " "); got != tt.keys {
			t.Errorf("%+v: %s, want %s", tt.c, got, tt.keys)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Config{Path: file + "x"}).Open(t.Context(), nil); !errors.Is(err, sensors.ErrAbsent) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
	if _, err := (&Config{Path: file}).Open(t.Context(), nil); err == nil || errors.Is(err, sensors.ErrAbsent) || !strings.Contains(err.Error(), "chmod 755") {
		t.Errorf("not executable: %v", err)
	}
}

// A program that vanishes after Open is absent, so that it is looked for again.
func TestProgramVanished(t *testing.T) {
	d := &device{cmd: (&Config{Path: "/nonexistent/program"}).command()}
	if _, err := d.Read(t.Context()); !errors.Is(err, sensors.ErrAbsent) {
		t.Errorf("error %v", err)
	}
}

// A script without its first line is told what it lacks.
func TestNoProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meter")
	if err := os.WriteFile(path, []byte("echo 42\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := &Config{Path: path, Sample: "level_percent"}
	s, err := cfg.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "#!/bin/sh") {
		t.Errorf("got %v", err)
	}
}
