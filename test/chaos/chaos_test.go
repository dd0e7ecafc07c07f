// Package chaos runs the built iotagent against the built hubsim under every fault there is, one after the other and two at a time, in an order
// that comes from a seed, kills included. What arrives at the hub is held against what was promised: nothing is missing, nothing is out of
// order, nothing comes twice without a reason or with two contents, no command takes effect twice, nothing grows. `make chaos` runs it.
package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// closing is what a run leaves for its end.
	closing = 30 * time.Second
	// longRun is from when on silent faults stay until they are noticed, with the settings that are shipped.
	longRun = 30 * time.Minute
)

// TestChaos runs one world for each seed, beside each other.
func TestChaos(t *testing.T) {
	if os.Getenv("CHAOS_DURATION") == "" {
		t.Skip("CHAOS_DURATION is not set: `make chaos SEED=1 DURATION=5m` runs it")
	}
	duration, err := time.ParseDuration(os.Getenv("CHAOS_DURATION"))
	if err != nil || duration < 2*closing {
		t.Fatalf("CHAOS_DURATION %q: want a duration of a minute or more", os.Getenv("CHAOS_DURATION"))
	}
	bin := build(t)
	end := time.Now().Add(duration - closing)
	var mu sync.Mutex
	var all []measured
	t.Run("worlds", func(t *testing.T) {
		for _, seed := range seeds(t) {
			t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
				t.Parallel()
				ms := live(t, seed, duration >= longRun, bin, end)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, ms...)
			})
		}
	})
	text := caption(len(all), len(seeds(t)), duration) + table(all)
	fmt.Println(text)
	if os.Getenv("CHAOS_UPDATE") != "" && !t.Failed() {
		if err := updatePage("../../docs/link.md", text); err != nil {
			t.Error(err)
		}
	}
}

// live runs one world until the end.
func live(t *testing.T, seed uint64, long bool, bin string, end time.Time) []measured {
	w := newWorld(t, seed, long, bin)
	defer func() {
		w.load.end()
		_, _ = w.agent.finishNow(), w.hub.finishNow() // whatever is left of a run that failed
		w.cancel()
		w.wg.Wait()
	}()
	w.say("%s, %s, in %s", w.way.transport, w.way.order, w.dir)
	w.up()
	kinds := chosen(t, fit(troubles(w.target()), long))
	w.say("%d kinds of trouble, until %s", len(kinds), end.Format(time.TimeOnly))
	all, err := w.run(end, kinds)
	if err != nil {
		w.autopsy()
		t.Errorf("%v\n%s", err, w.postMortem(w.judge.problems))
		return all
	}
	if problems := w.conclude(); len(problems) > 0 {
		t.Error(w.postMortem(problems))
		return all
	}
	if err := os.RemoveAll(w.dir); err != nil {
		t.Error(err)
	}
	return all
}

// chosen leaves the kinds whose names CHAOS_ONLY fits, a regular expression; all of them without it.
func chosen(t *testing.T, kinds []trouble) []trouble {
	t.Helper()
	only, err := regexp.Compile(os.Getenv("CHAOS_ONLY"))
	if err != nil {
		t.Fatal(err)
	}
	kinds = slices.DeleteFunc(kinds, func(k trouble) bool { return !only.MatchString(k.name) })
	if len(kinds) == 0 {
		t.Fatalf("CHAOS_ONLY %q fits no kind of trouble", only)
	}
	return kinds
}

// seeds reads CHAOS_SEED, one or several.
func seeds(t *testing.T) []uint64 {
	t.Helper()
	words := strings.Fields(os.Getenv("CHAOS_SEED"))
	if len(words) == 0 {
		words = []string{"1"}
	}
	var all []uint64
	for _, word := range words {
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			t.Fatalf("CHAOS_SEED %q: want numbers", os.Getenv("CHAOS_SEED"))
		}
		all = append(all, n)
	}
	return all
}

// build makes the programs; with CHAOS_RACE iotagent has the race detector in it.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{{"iotagent/cmd/hubctl", "iotagent/cmd/hubsim"}, {"iotagent/cmd/iotagent"}} {
		line, cgo := []string{"build", "-buildvcs=false", "-o", dir + string(filepath.Separator)}, "0"
		if os.Getenv("CHAOS_RACE") != "" && len(args) == 1 {
			line, cgo = append(line, "-race"), "1"
		}
		cmd := exec.CommandContext(t.Context(), "go", append(line, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build the programs: %v\n%s", err, out)
		}
	}
	return dir
}
