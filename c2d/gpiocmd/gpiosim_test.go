//go:build gpiosim

package gpiocmd

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"iotagent/c2d"
	"iotagent/internal/gpioline"
)

// These tests need a kernel with gpio-sim, configfs and tracefs, and root: test/vm/run.sh runs them in a virtual machine.

const (
	configDir = "/sys/kernel/config/gpio-sim/test"
	traceDir  = "/sys/kernel/tracing"
	holdEnv   = "GPIOCMD_TEST_HOLD"
)

// simChip is a simulated chip with the lines RELAY and LAMP and two without names.
type simChip struct {
	t      *testing.T
	sysfs  string // of the chip, seen from outside
	device string // gpiochipN
}

func newSimChip(t *testing.T) *simChip {
	t.Helper()
	write(t, filepath.Join(traceDir, "events/gpio/enable"), "1")
	for _, dir := range []string{"", "bank0", "bank0/line0", "bank0/line1"} {
		if err := os.Mkdir(filepath.Join(configDir, dir), 0o755); err != nil {
			t.Fatalf("no gpio-sim: %v", err)
		}
	}
	t.Cleanup(func() {
		write(t, configDir+"/live", "0")
		for _, dir := range []string{"bank0/line1", "bank0/line0", "bank0", ""} {
			if err := os.Remove(filepath.Join(configDir, dir)); err != nil {
				t.Error(err)
			}
		}
	})
	write(t, configDir+"/bank0/num_lines", "4")
	write(t, configDir+"/bank0/label", "testchip")
	write(t, configDir+"/bank0/line0/name", "RELAY")
	write(t, configDir+"/bank0/line1/name", "LAMP")
	write(t, configDir+"/live", "1")
	c := &simChip{t: t, device: read(t, configDir+"/bank0/chip_name")}
	c.sysfs = filepath.Join("/sys/devices/platform", read(t, configDir+"/dev_name"), c.device)
	return c
}

// level is what a volt meter at the line would show.
func (c *simChip) level(line int) string {
	c.t.Helper()
	return map[string]string{"0": "low", "1": "high"}[read(c.t, fmt.Sprintf("%s/sim_gpio%d/value", c.sysfs, line))]
}

func (c *simChip) want(line int, level string) {
	c.t.Helper()
	if got := c.level(line); got != level {
		c.t.Errorf("line %d is %s, want %s", line, got, level)
	}
}

// trace returns what happened to outputs since the last call, as the kernel's own event log has it: "set 1", "out".
func (c *simChip) trace() []string {
	c.t.Helper()
	f, err := os.Open(filepath.Join(traceDir, "trace"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	var events []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, ev, ok := strings.Cut(lines.Text(), "gpio_value: "); ok {
			events = append(events, strings.Join(strings.Fields(ev)[1:], " "))
		}
		if _, ev, ok := strings.Cut(lines.Text(), "gpio_direction: "); ok {
			events = append(events, strings.Fields(ev)[1])
		}
	}
	write(c.t, filepath.Join(traceDir, "trace"), "")
	return events
}

func (c *simChip) wantTrace(want ...string) {
	c.t.Helper()
	if d := cmp.Diff(want, c.trace()); d != "" {
		c.t.Errorf("what the kernel did to the line: %s", d)
	}
}

func (c *simChip) open(pin, safe string) c2d.Handler {
	c.t.Helper()
	h, err := openPin(c.t, pin, safe)
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

func openPin(t *testing.T, pin, safe string) (c2d.Handler, error) {
	return (&Config{Pin: pin, Safe: safe}).Open(t.Context(), c2d.Env{Name: "relay", Root: "/", Logger: slog.New(slog.DiscardHandler)})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// A line that is to be high is never low on the way; the trace would show it, as the second half proves.
func TestKernelFirstLevel(t *testing.T) {
	c := newSimChip(t)
	c.trace()
	h := c.open("RELAY", "high")
	c.wantTrace("set 1", "out")
	c.want(0, "high")
	if err := h.Close(); err != nil {
		t.Error(err)
	}

	c.trace()
	line, err := gpioline.Find("/", "LAMP")
	if err != nil {
		t.Fatal(err)
	}
	out, err := gpioline.TakeOutput(line, "test", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(out.Set(true), out.Close()); err != nil {
		t.Error(err)
	}
	if got := c.trace(); len(got) < 3 || got[0] != "set 0" || got[2] != "set 1" {
		t.Errorf("a pulse is not to be seen in the trace: %q", got)
	}
}

func TestKernelLevels(t *testing.T) {
	c := newSimChip(t)
	h := c.open("testchip:1", "low")
	c.want(1, "low")
	for _, step := range []struct{ args, level string }{
		{`{"level":"high"}`, "high"}, {`{"toggle":true}`, "low"}, {`{"toggle":true}`, "high"}, {`{"level":"low"}`, "low"},
	} {
		if got := run(h, step.args); got.Status != c2d.Done {
			t.Errorf("%s: %+v", step.args, got)
		}
		c.want(1, step.level)
	}
	c.trace()
	start := time.Now()
	if got := run(h, `{"pulse":"200ms"}`); got.Status != c2d.Done || time.Since(start) < 200*time.Millisecond {
		t.Errorf("%+v after %s", got, time.Since(start))
	}
	c.wantTrace("set 1", "set 0")
	if want := (map[string]string{"level": "low", "pin": "LAMP (" + c.device + ":1)"}); cmp.Diff(want, h.State()) != "" {
		t.Errorf("state %v", h.State())
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// At the end the line is safe first and then let go, whence it falls back to what pulls it.
func TestKernelClose(t *testing.T) {
	c := newSimChip(t)
	write(t, c.sysfs+"/sim_gpio0/pull", "pull-down")
	h := c.open("RELAY", "high")
	run(h, `{"level":"low"}`)
	c.trace()
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if got := c.trace(); len(got) == 0 || got[0] != "set 1" {
		t.Errorf("at Close the line got %q, want its safe level first", got)
	}
	c.want(0, "low")
	if got := run(h, `{"level":"low"}`); got.Status != c2d.Failed {
		t.Errorf("after Close: %+v", got)
	}
}

func TestKernelFinds(t *testing.T) {
	c := newSimChip(t)
	for _, pin := range []string{"LAMP", c.device + ":1", c.device + ":LAMP", "testchip:1", "testchip:LAMP"} {
		h := c.open(pin, "high")
		c.want(1, "high")
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	for pin, word := range map[string]string{
		"lamp": `did you mean "LAMP"`, "testchip:4": "lines 0 to 3", "nochip:1": c.device + " (testchip",
	} {
		if _, err := openPin(t, pin, "low"); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: error %v does not say %q", pin, err, word)
		}
	}
}

func TestKernelBusy(t *testing.T) {
	c := newSimChip(t)
	h := c.open("RELAY", "low")
	_, err := openPin(t, "RELAY", "high")
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), `held by "iotagent relay"`) {
		t.Errorf("got %v", err)
	}
	if err := (&Config{Pin: "RELAY", Safe: "high"}).SetSafe(t.Context()); !errors.Is(err, unix.EBUSY) {
		t.Errorf("SetSafe of a line that is held: %v", err)
	}
	c.want(0, "low")
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	h = c.open("RELAY", "high")
	c.want(0, "high")
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// When the process dies the kernel lets the line go, and the stop hook can drive it once more.
func TestKernelProcessDies(t *testing.T) {
	if os.Getenv(holdEnv) != "" {
		h, err := openPin(t, "RELAY", "low")
		if err != nil {
			t.Fatal(err)
		}
		run(h, `{"level":"high"}`)
		fmt.Println("\nholding")
		time.Sleep(time.Minute) // it is killed before
	}
	c := newSimChip(t)
	write(t, c.sysfs+"/sim_gpio0/pull", "pull-down")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKernelProcessDies$")
	child.Env = append(os.Environ(), holdEnv+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "holding" {
		continue
	}
	c.want(0, "high")
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed, as was asked
	c.want(0, "low")

	c.trace()
	if err := (&Config{Pin: "RELAY", Safe: "high"}).SetSafe(t.Context()); err != nil {
		t.Error(err)
	}
	if got := c.trace(); len(got) < 2 || got[0] != "set 1" || got[1] != "out" {
		t.Errorf("the stop hook did %q", got)
	}
}
