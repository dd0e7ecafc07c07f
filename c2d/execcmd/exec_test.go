package execcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"iotagent/c2d"
	"iotagent/internal/quantity"
)

// modeEnv makes this test binary a command's program.
const modeEnv = "EXECCMD_TEST"

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
	case "exit":
		n, _ := strconv.Atoi(arg)
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "valve is jammed")
		return n
	case "echo":
		in, _ := io.ReadAll(os.Stdin)
		args, _ := json.Marshal(os.Args[1:])
		fmt.Printf("{ \"in\": %q,\n \"args\": %s }\n", in, args)
	case "env":
		dir, _ := os.Getwd()
		fmt.Println(strings.Join(os.Environ(), "\n") + "\ndir " + dir)
	case "flood":
		chunk := strings.Repeat("x", 1<<16)
		for range 64 {
			fmt.Print(chunk)
			fmt.Fprint(os.Stderr, chunk)
		}
		fmt.Fprint(os.Stderr, "the end")
		return len(arg)
	case "suicide":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Hour)
	case "deaf": // survives SIGTERM
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("deaf")
		child(arg)
		time.Sleep(time.Hour)
	case "polite":
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGTERM)
		fmt.Fprintln(os.Stderr, "polite")
		_ = os.WriteFile(arg, []byte("ready"), 0o600)
		<-ch
		return 3
	case "parent": // leaves a child that holds stdout open
		child(arg)
		fmt.Println("parent done")
	case "sleep":
		time.Sleep(time.Hour)
	}
	return 0
}

// child starts a sleeper, in a session of its own when asked to, and writes its number to the file in arg.
func child(arg string) {
	file, own, _ := strings.Cut(arg, ",")
	c := exec.CommandContext(context.Background(), os.Args[0])
	c.Env = []string{modeEnv + "=sleep"}
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: own != ""}
	if err := c.Start(); err != nil {
		panic(err)
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(c.Process.Pid)), 0o600); err != nil {
		panic(err)
	}
}

func open(t *testing.T, mode string, change func(*Config)) c2d.Handler {
	t.Helper()
	c := Type().New().(*Config)
	c.Path, c.Env = os.Args[0], []string{modeEnv + "=" + mode, fastExit}
	if change != nil {
		change(c)
	}
	c.Validate(func(key, msg string) { t.Fatalf("%s: %s", key, msg) })
	h, err := c.Open(t.Context(), c2d.Env{Name: "cmd", Root: "/", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestOutcome(t *testing.T) {
	t.Setenv("LANG", "C")
	tests := []struct {
		mode, in string
		want     c2d.Result
	}{
		{"exit:0", "", c2d.Result{Status: c2d.Done, Detail: "to stdout"}},
		{"exit:1", "", c2d.Result{Status: c2d.Refused, Code: 1, Detail: "exit status 1: valve is jammed"}},
		{"exit:75", "", c2d.Result{Status: c2d.TryLater, Code: 75, Detail: "exit status 75: valve is jammed"}},
		{"exit:255", "", c2d.Result{Status: c2d.Refused, Code: 255, Detail: "exit status 255: valve is jammed"}},
		{"echo", `{"a":1}`, c2d.Result{Status: c2d.Done, Detail: `{"in":"{\"a\":1}","args":["one","$HOME; two"]}`}},
		{"echo", "", c2d.Result{Status: c2d.Done, Detail: `{"in":"{}","args":["one","$HOME; two"]}`}},
	}
	for _, tt := range tests {
		t.Run(tt.mode+tt.in, func(t *testing.T) {
			h := open(t, tt.mode, func(c *Config) {
				if tt.mode == "echo" {
					c.Args = []string{"one", "$HOME; two"}
				}
			})
			var in json.RawMessage
			if tt.in != "" {
				in = json.RawMessage(tt.in)
			}
			got := h.Run(t.Context(), in)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSignalledProgramCrashed(t *testing.T) {
	got := open(t, "suicide", nil).Run(t.Context(), nil)
	if got.Status != c2d.Crashed || !strings.Contains(got.Detail, "was ended by signal 9 (killed)") {
		t.Errorf("got %+v", got)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("IOTAGENT_SECRET", "hunter2")
	t.Setenv("TZ", "UTC")
	t.Setenv("HOME", "/root")
	t.Setenv("LANG", "C")
	got := open(t, "env", func(c *Config) {
		c.Env = append(c.Env, "TZ", "MODE=soft", "NOT_SET", "IOTAGENT_COMMAND=fake")
		c.Dir = "/usr"
	}).Run(t.Context(), nil)
	want := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C",
		modeEnv + "=env", fastExit, "TZ=UTC", "MODE=soft", "IOTAGENT_COMMAND=cmd", "dir /usr",
	}
	lines := strings.Split(got.Detail, "\n")
	kept := lines[:0]
	for _, l := range lines {
		if !strings.HasPrefix(l, "PWD=") { // set by os/exec for dir
			kept = append(kept, l)
		}
	}
	if d := cmp.Diff(want, kept); d != "" {
		t.Error(d)
	}
}

func TestOutputIsBounded(t *testing.T) {
	got := open(t, "flood", func(c *Config) { c.MaxOutput = quantity.Bytes{N: 2048} }).Run(t.Context(), nil)
	if got.Status != c2d.Done || len(got.Detail) != 2048+len("…") {
		t.Errorf("%s, %d bytes", got.Status, len(got.Detail))
	}
	got = open(t, "flood:x", nil).Run(t.Context(), nil)
	if got.Status != c2d.Refused || len(got.Detail) > 2200 || !strings.HasSuffix(got.Detail, "the end") || !strings.Contains(got.Detail, ": …x") {
		t.Errorf("%s, %d bytes: …%s", got.Status, len(got.Detail), got.Detail[len(got.Detail)-20:])
	}
}

// A program that ignores SIGTERM, with a child in its group: both are gone when Run returns, some two seconds after the time-out.
func TestTimeoutEndsTheGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	h := open(t, "deaf:"+file, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		awaitFile(t, file)
		cancel()
	}()
	start := time.Now()
	got := h.Run(ctx, nil)
	if got.Status != c2d.TimedOut || !strings.Contains(got.Detail, "deaf") {
		t.Errorf("got %+v", got)
	}
	if d := time.Since(start); d < killGrace {
		t.Errorf("killed after %s, before its grace was over", d)
	}
	mustBeGone(t, file)
}

func TestTimeoutIsPoliteFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready")
	h := open(t, "polite:"+file, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var start time.Time
	go func() {
		awaitFile(t, file)
		start = time.Now()
		cancel()
	}()
	got := h.Run(ctx, nil)
	want := c2d.Result{Status: c2d.TimedOut, Code: 3, Detail: "was ended before it was done: polite"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := time.Since(start); d >= killGrace {
		t.Errorf("took %s: SIGTERM was not enough", d)
	}
}

// What a program leaves behind is ended with it; what took itself out of the group lives, and does not hold Run up.
func TestChildHoldsOutputOpen(t *testing.T) {
	for _, own := range []string{"", ",own"} {
		t.Run(map[string]string{"": "same group", ",own": "own session"}[own], func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			got := open(t, "parent:"+file+own, nil).Run(t.Context(), nil)
			if got.Status != c2d.Done || got.Detail != "parent done" {
				t.Errorf("got %+v", got)
			}
			if own == "" {
				mustBeGone(t, file)
				return
			}
			pid := readPid(t, file)
			if err := syscall.Kill(pid, 0); err != nil {
				t.Errorf("the child in its own session is gone: %v", err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		})
	}
}

func awaitFile(t *testing.T, file string) {
	for t.Context().Err() == nil {
		if data, err := os.ReadFile(file); err == nil && len(data) > 0 {
			return
		}
		time.Sleep(5 * time.Millisecond) // another process writes it
	}
}

func readPid(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// mustBeGone fails when the process runs; a zombie, which nobody may have waited for in a container, is gone. A killed process takes a moment
// to become one.
func mustBeGone(t *testing.T, file string) {
	t.Helper()
	stat := fmt.Sprintf("/proc/%d/stat", readPid(t, file))
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		data, err := os.ReadFile(stat)
		if err != nil || strings.Contains(string(data), ") Z ") || strings.Contains(string(data), ") X ") {
			return
		}
	}
	t.Errorf("%s: still there", stat)
}

func TestValidate(t *testing.T) {
	tests := []struct {
		c    Config
		keys []string
	}{
		{Config{}, []string{"path", "max_output"}},
		{Config{Path: "bin/x", Dir: "y", MaxOutput: quantity.Bytes{N: 4096}}, []string{"path", "dir"}},
		{Config{Path: "/bin/x", Env: []string{"", "=x", "OK", "A=", "B C=1"}, MaxOutput: quantity.Bytes{N: 4096}}, []string{"env", "env", "env"}},
		{Config{Path: "/bin/x\x00", Args: []string{"\x00"}, MaxOutput: quantity.Bytes{N: 1 << 30}}, []string{"path", "args", "max_output"}},
		{Config{Path: "/bin/x", Dir: "/", MaxOutput: quantity.Bytes{N: 4096}}, nil},
	}
	for _, tt := range tests {
		var keys []string
		tt.c.Validate(func(key, _ string) { keys = append(keys, key) })
		if d := cmp.Diff(tt.keys, keys); d != "" {
			t.Errorf("%+v: %s", tt.c, d)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte("#!/bin/sh\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	tests := []struct {
		c    Config
		word string
	}{
		{Config{Path: filepath.Join(dir, "none")}, "is not there"},
		{Config{Path: dir}, "is not a file"},
		{Config{Path: file("plain", 0o644)}, "chmod 755"},
		{Config{Path: file("open", 0o777)}, "chmod o-w"},
		{Config{Path: file("good", 0o755), Dir: filepath.Join(dir, "none")}, "dir: "},
		{Config{Path: file("good", 0o755), Dir: file("good", 0o755)}, "not a directory"},
	}
	for _, tt := range tests {
		if _, err := tt.c.Open(t.Context(), c2d.Env{}); err == nil || !strings.Contains(err.Error(), tt.word) {
			t.Errorf("%s: error %v does not say %q", tt.c.Path, err, tt.word)
		}
	}
}

func TestProgramVanished(t *testing.T) {
	h := open(t, "exit:0", nil)
	h.(*handler).cmd.Path = "/nonexistent/program"
	if got := h.Run(t.Context(), nil); got.Status != c2d.Failed || !strings.Contains(got.Detail, "nothing happened") {
		t.Errorf("got %+v", got)
	}
}

func TestSample(t *testing.T) {
	var file struct {
		Command []map[string]any `toml:"command"`
	}
	if err := toml.Unmarshal([]byte(Type().Sample), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Command) != 1 || file.Command[0]["type"] != Type().Name {
		t.Fatalf("sample holds %v", file.Command)
	}
	known := map[string]bool{"name": true, "type": true, "timeout": true, "path": true, "args": true}
	for key := range file.Command[0] {
		if !known[key] {
			t.Errorf("sample has the key %q", key)
		}
	}
}
