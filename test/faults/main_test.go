// Package faults does to the outbox, in a process of its own, what the field does to a gateway: the power goes, the process is killed, the disk fails,
// fills up, becomes read-only, files are cut under it, a second daemon starts, the clock jumps. Whatever the outbox had promised by then must
// hold. FAULTS_CUTS and FAULTS_KILLS say how often; `make faults` runs it long.
package faults

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"iotagent/outbox"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(workerEnv); job != "" {
		os.Exit(work(job))
	}
	// Most tests wait for pauses between attempts, so more of them than there are processors may do so at once.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// ready is how soon an outbox must work again after a fault.
const ready = 5 * time.Second

// times returns how often to do something: the variable's value, or the default.
func times(t *testing.T, variable string, normal int) int {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		return normal
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number of times", variable, v)
	}
	return n
}

// missing skips the test because the machine lacks something, which a CI machine must not.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("not on this CI machine: "+format, args...)
	}
	t.Skipf("not on this machine: "+format, args...)
}

// needStrace skips the test where strace cannot look into a process.
func needStrace(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		missing(t, "strace is not installed: tools/apt.sh strace")
	}
	if out, err := exec.CommandContext(t.Context(), "strace", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		missing(t, "strace cannot trace: %v: %s", err, out)
	}
}

// memoryDir makes a folder in memory, where it can be: what a process wrote outlives its end there too, and a sync costs nothing.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "faults") //nolint:usetesting // in memory, which TempDir need not be
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// drain hands out everything that the outbox has and acknowledges none of it.
func drain(t *testing.T, q *outbox.Outbox) (all []outbox.Entry) {
	t.Helper()
	for round := 0; round < 2; round++ {
		for {
			es, err := q.Next(1000, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			if len(es) == 0 {
				break
			}
			all = append(all, es...)
			round = 0
		}
		if err := q.Sync(t.Context()); err != nil { // damage that a read met is repaired by now
			t.Fatal(err)
		}
	}
	return all
}
