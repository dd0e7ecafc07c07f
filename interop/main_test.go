//go:build interop

// Package interop holds the programs against other people's implementations of the protocol: Microsoft's device and service SDKs for Node
// against hubsim, and a small hub on rhea against iotagent and hubctl. `make interop` installs the pinned packages and runs it.
package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// binaries is the variable that tells the tests where the programs are.
const binaries = "IOTAGENT_INTEROP_BINARIES"

// patience bounds every wait for something that must happen: far longer than it takes.
const patience = 30 * time.Second

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	if _, err := os.Stat("node_modules"); err != nil {
		fmt.Fprintln(os.Stderr, "the npm packages are not installed: run this through `make interop`, or `npm ci` in this folder first")
		return 1
	}
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	build := exec.CommandContext(context.Background(), "go", "build", "-buildvcs=false", "-o", dir+string(filepath.Separator), "iotagent/cmd/iotagent", "iotagent/cmd/hubctl", "iotagent/cmd/hubsim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv(binaries, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
