package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
	"iotagent/internal/cli"
)

// asProgram makes the test binary the program itself.
const asProgram = "HUBSIM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		ctx, stop := cli.Interrupted(context.Background())
		defer stop()
		os.Exit(Main(ctx, os.Args[1:], cli.Std()))
	}
	os.Exit(m.Run())
}

// run starts the program as a process of its own.
func run(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "hubsim listens on ") {
		t.Fatalf("first line %q, %v", line, err)
	}
	return cmd
}

// TestKilledHubHasWhatItAccepted sends telemetry until the hub is killed, several times, and holds what was accepted against what is left.
func TestKilledHubHasWhatItAccepted(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	var accepted []string
	for life := range 3 {
		cmd := run(t, "--listen", "127.0.0.1:0", "--state", state, "--device", "pi-17")
		conn, s := connect(t, state)
		time.AfterFunc(time.Duration(50+50*life)*time.Millisecond, func() { _ = cmd.Process.Kill() }) // SIGKILL
		for n := 0; ; n++ {
			id := fmt.Sprintf("%d-%d", life, n)
			m := amqp.NewMessage([]byte("x"))
			m.Properties = &amqp.MessageProperties{MessageID: id}
			if err := s.Send(t.Context(), m, nil); err != nil {
				break
			}
			accepted = append(accepted, id)
		}
		_ = conn.Close() // it is gone
		if err := cmd.Wait(); err == nil {
			t.Fatal("the hub ended by itself")
		}
	}
	hub, err := hubsim.New(&hubsim.Options{StateDir: state, KeepMessages: true, Retention: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	}()
	var kept []string
	for _, e := range hub.Events() {
		kept = append(kept, e.MessageID)
	}
	// Of each life one more may have been stored whose acknowledgement was under way.
	missing := slices.DeleteFunc(slices.Clone(accepted), func(id string) bool { return slices.Contains(kept, id) })
	if len(missing) > 0 || len(kept) > len(accepted)+3 || len(accepted) < 3 {
		t.Errorf("%d accepted, %d kept, missing: %v", len(accepted), len(kept), missing)
	}
}

func TestASecondHubOnTheSameState(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	h := start(t, "--state", state)
	for _, args := range [][]string{{}, {"--control", "127.0.0.1:0"}} {
		var stderr strings.Builder
		status := Main(t.Context(), append([]string{"--listen", "127.0.0.1:0", "--state", state}, args...), cli.IO{Out: &strings.Builder{}, Err: &stderr})
		if status != cli.Failed || !strings.Contains(stderr.String(), "another hubsim") {
			t.Errorf("%v: status %d, %s", args, status, stderr.String())
		}
	}
	h.stop()
}
