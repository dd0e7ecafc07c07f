//go:build vmguest

package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// state is one sensor in `iotagent status --json`.
type state struct {
	taken
	Name             string
	Readings, Errors uint64
}

// daemon is `iotagent run` in front of a hubsim.
type daemon struct {
	t      *testing.T
	dir    string
	config string
	agent  *exec.Cmd
}

// start starts a hub and the agent with these sensors. Both end with the test; the agent must then end well.
func start(t *testing.T, sensors string) *daemon {
	t.Helper()
	d := &daemon{t: t, dir: t.TempDir()}
	hub := d.spawn("/bin/hubsim", "--listen", "127.0.0.1:0", "--state", d.dir+"/hub", "--device", "vm", "--events", d.events(), "--ready-file", d.dir+"/ready")
	t.Cleanup(func() { d.stop(hub) })
	until(t, "the hub", 30*time.Second, func() bool {
		ready, err := os.ReadFile(d.dir + "/ready")
		return err == nil && len(ready) > 0
	})
	d.config = configFile(t, fmt.Sprintf("[hub]\nconnection_string_file = %q\nca_file = %q\n[agent]\nstate_dir = %q\n[telemetry]\nflush_interval = \"1s\"\n",
		d.dir+"/hub/devices/vm.connection-string", d.dir+"/hub/ca.pem", d.dir+"/state")+sensors)
	d.agent = d.spawn("/bin/iotagent", "--config", d.config, "run")
	t.Cleanup(d.end)
	return d
}

func (d *daemon) events() string { return d.dir + "/events.jsonl" }

// spawn starts a program whose output goes to a file beside the hub's.
func (d *daemon) spawn(name string, args ...string) *exec.Cmd {
	d.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(d.t.Context()), name, args...)
	out, err := os.Create(filepath.Join(d.dir, filepath.Base(name)+".log"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the program has its own
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	return cmd
}

// end stops the agent, if it runs, and shows its log where the test failed.
func (d *daemon) end() {
	d.t.Helper()
	if d.agent == nil {
		return
	}
	d.stop(d.agent)
	d.agent = nil
	if log, err := os.ReadFile(d.dir + "/iotagent.log"); d.t.Failed() && err == nil {
		d.t.Logf("iotagent's log:\n%s", log)
	}
}

func (d *daemon) stop(cmd *exec.Cmd) {
	d.t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		d.t.Errorf("%s: %v", cmd.Path, err)
	}
}

// status asks the daemon about a sensor; nil before it answers.
func (d *daemon) status(sensor string) *state {
	out, err := exec.CommandContext(d.t.Context(), "/bin/iotagent", "--config", d.config, "status", "--json").Output()
	var s struct{ Sensors []state }
	if err != nil || json.Unmarshal(out, &s) != nil {
		return nil
	}
	if i := slices.IndexFunc(s.Sensors, func(x state) bool { return x.Name == sensor }); i >= 0 {
		return &s.Sensors[i]
	}
	return nil
}

// untilGood waits for three good readings of the sensor, after which the agent forgets that it ever failed.
func (d *daemon) untilGood(sensor string) {
	d.t.Helper()
	var since, last *state
	d.showing(&last)
	until(d.t, "good readings of "+sensor, 60*time.Second, func() bool {
		last = d.status(sensor)
		if last == nil || since == nil || last.Errors > since.Errors {
			since = last
			return false
		}
		return last.Quality == "good" && last.Readings >= since.Readings+3
	})
	last = nil
}

// untilBad waits until the sensor's newest reading holds no value and has this word in its reason.
func (d *daemon) untilBad(sensor, word string) {
	d.t.Helper()
	var last *state
	d.showing(&last)
	until(d.t, fmt.Sprintf("%s: %q", sensor, word), 60*time.Second, func() bool {
		last = d.status(sensor)
		return last != nil && last.Quality != "good" && len(last.Values) == 0 && strings.Contains(last.Reason, word)
	})
	last = nil
}

// showing shows a state at the end of the test, unless it is nil by then.
func (d *daemon) showing(s **state) {
	d.t.Cleanup(func() {
		if *s != nil {
			d.t.Logf("the last that was seen: %+v", **s)
		}
	})
}

// atHub returns every reading that the hub has of a sensor, in its order.
func (d *daemon) atHub(sensor string) (readings []map[string]any) {
	d.t.Helper()
	f, err := os.Open(d.events())
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct{ Body string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			d.t.Fatalf("the hub's events: %q: %v", lines.Text(), err)
		}
		var body []map[string]any
		if json.Unmarshal([]byte(event.Body), &body) != nil {
			continue // not readings
		}
		for _, r := range body {
			if r["sensor"] == sensor {
				readings = append(readings, r)
			}
		}
	}
	if err := lines.Err(); err != nil {
		d.t.Fatal(err)
	}
	return readings
}
