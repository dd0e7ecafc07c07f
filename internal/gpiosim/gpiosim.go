// Package gpiosim makes GPIO chips of the kernel's gpio-sim for tests, and drives their lines from outside. It needs that module, configfs
// and root: test/vm/run.sh runs such tests in a virtual machine.
package gpiosim

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Chip is a simulated chip with the label "testchip".
type Chip struct {
	// Device is its name, "gpiochip0", since it was plugged in last.
	Device string
	// Dir is its folder in configfs, where a line has bank0/lineN.
	Dir string

	t *testing.T
}

// New plugs a chip in, for the time of the test, whose first lines have these names, and which has two more without.
func New(t *testing.T, names ...string) *Chip {
	t.Helper()
	c := &Chip{Dir: "/sys/kernel/config/gpio-sim/inputs", t: t}
	dirs := []string{c.Dir, c.Dir + "/bank0"}
	for i := range names {
		dirs = append(dirs, fmt.Sprintf("%s/bank0/line%d", c.Dir, i))
	}
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o750); err != nil {
			t.Fatalf("no gpio-sim: %v", err)
		}
	}
	t.Cleanup(func() {
		c.Unplug()
		for i := range dirs {
			if err := os.Remove(dirs[len(dirs)-1-i]); err != nil {
				t.Error(err)
			}
		}
	})
	c.Write("bank0/num_lines", fmt.Sprint(len(names)+2))
	c.Write("bank0/label", "testchip")
	for i, name := range names {
		c.Write(fmt.Sprintf("bank0/line%d/name", i), name)
	}
	c.Plug()
	return c
}

// Plug makes the chip appear.
func (c *Chip) Plug() {
	c.t.Helper()
	c.Write("live", "1")
	c.Device = c.read("bank0/chip_name")
}

// Unplug makes it disappear.
func (c *Chip) Unplug() {
	c.t.Helper()
	c.Write("live", "0")
}

// Pull drives a line from outside, up or down.
func (c *Chip) Pull(line int, level string) {
	c.t.Helper()
	if err := os.WriteFile(c.pull(line), []byte("pull-"+level), 0o600); err != nil {
		c.t.Error(err)
	}
}

// edgeEvery is the time between two edges of Pulse. When the kernel cannot serve an edge before the next but one, it sees one of them only.
const edgeEvery = 200 * time.Microsecond

// Pulse drives a line up and down n times, at 2500 Hz or as fast as that goes.
func (c *Chip) Pulse(line, n int) {
	c.t.Helper()
	f, err := os.OpenFile(c.pull(line), os.O_WRONLY, 0)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer func() { _ = f.Close() }() // every write has been answered
	tick := time.NewTicker(edgeEvery)
	defer tick.Stop()
	for range n {
		for _, pull := range []string{"pull-up", "pull-down"} {
			<-tick.C // this thread sleeps, so that the kernel's runs
			if _, err := f.WriteAt([]byte(pull), 0); err != nil {
				c.t.Error(err)
				return
			}
		}
	}
}

func (c *Chip) pull(line int) string {
	return fmt.Sprintf("/sys/devices/platform/%s/%s/sim_gpio%d/pull", c.read("dev_name"), c.Device, line)
}

// Write writes a file of Dir.
func (c *Chip) Write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(text), 0o600); err != nil {
		c.t.Error(err)
	}
}

func (c *Chip) read(name string) string {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.Dir, name))
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}
