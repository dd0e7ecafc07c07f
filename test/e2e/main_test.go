// Package e2e drives the built programs as a person or a service manager would: processes, files, signals and TLS on loopback. What goes
// wrong in the field is done to them, and what they say and what the hub got is looked at.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// binaries is the variable that tells the tests where the programs are.
const binaries = "IOTAGENT_E2E_BINARIES"

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	build := exec.CommandContext(context.Background(), "go", "build", "-buildvcs=false", "-o", dir+string(filepath.Separator),
		"iotagent/cmd/iotagent", "iotagent/cmd/hubctl", "iotagent/cmd/hubsim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv(binaries, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// The tests wait for programs and for pauses between attempts, so more of them than there are processors may do so at once.
	flag.Parse()
	if err := flag.Set("test.parallel", "10"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// patience is how long a test waits for something that must happen: far longer than it takes on a busy machine of two slow cores.
const patience = 45 * time.Second

// await returns when cond holds. It is the only place of these tests that waits for something it cannot be told of: what another process
// prints, or does to a file.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %s in vain for %s", patience, what)
		}
	}
}
