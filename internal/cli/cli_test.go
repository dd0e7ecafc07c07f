package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/internal/cli"
	"iotagent/internal/version"
)

// program is a command line such as the three programs have.
type program struct {
	Do      doCommand          `cmd:"" help:"Do it."`
	Version cli.VersionCommand `cmd:"" help:"Print the version."`
}

type doCommand struct {
	Fail string `help:"How to fail."`
}

type key struct{}

// Run fails in the way that the flag names.
func (c *doCommand) Run(ctx context.Context, std cli.IO, name cli.Name) error {
	plain := errors.New("it broke")
	switch c.Fail {
	case "":
		_, err := fmt.Fprint(std.Out, name, " ", ctx.Value(key{}))
		return err
	case "plain":
		return plain
	case "config":
		return cli.Fail(cli.Config, plain, "mend it")
	case "wrapped":
		return fmt.Errorf("outer: %w", cli.Fail(cli.Usage, plain, "mend it"))
	case "nil":
		return cli.Fail(cli.Config, nil, "mend it")
	case "zero":
		return &cli.Error{Err: plain}
	}
	return cli.Fail(0, errors.New("one\ntwo\n"), "")
}

func run(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	ctx := context.WithValue(t.Context(), key{}, "ctx")
	status = cli.Run(ctx, "prog", "A program.", args, &program{}, cli.IO{Out: &out, Err: &err})
	return status, out.String(), err.String()
}

func TestRun(t *testing.T) {
	type result struct {
		Status   int
		Out, Err string
	}
	const hint = "hint: prog --help lists the commands and flags\n"
	for args, want := range map[string]result{
		"do":                {cli.OK, "prog ctx", ""},
		"do --fail=plain":   {cli.Failed, "", "prog: it broke\n"},
		"do --fail=config":  {cli.Config, "", "prog: it broke\nhint: mend it\n"},
		"do --fail=wrapped": {cli.Usage, "", "prog: outer: it broke\nhint: mend it\n"},
		"do --fail=nil":     {cli.OK, "", ""},
		"do --fail=zero":    {cli.Failed, "", "prog: it broke\n"},
		"do --fail=lines":   {cli.Failed, "", "prog: one\nprog: two\n"},
		"do --bogus":        {cli.Usage, "", "prog: unknown flag --bogus\n" + hint},
		"version":           {cli.OK, "prog " + version.String() + "\n", ""},
	} {
		status, out, text := run(t, strings.Fields(args)...)
		if diff := cmp.Diff(want, result{status, out, text}); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
	for _, args := range []string{"", "bogus", "do extra", "do --fail"} {
		if status, out, text := run(t, strings.Fields(args)...); status != cli.Usage || out != "" || !strings.HasPrefix(text, "prog: ") || !strings.HasSuffix(text, hint) {
			t.Errorf("%q: status %d, %q, %q", args, status, out, text)
		}
	}
}

func TestHelpGoesToStandardOutput(t *testing.T) {
	for _, args := range []string{"--help", "do --help", "do --fail=plain --help"} {
		status, out, text := run(t, strings.Fields(args)...)
		if status != cli.OK || text != "" || !strings.HasPrefix(out, "Usage: prog ") {
			t.Errorf("%s: status %d, %q, %q", args, status, out, text)
		}
	}
}

func TestVersionAsJSON(t *testing.T) {
	_, out, _ := run(t, "version", "--json")
	var got map[string]string
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"version": version.String(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAModelThatIsNoneFails(t *testing.T) {
	var text bytes.Buffer
	if status := cli.Run(t.Context(), "prog", "", nil, new(int), cli.IO{Out: io.Discard, Err: &text}); status != cli.Failed || !strings.HasPrefix(text.String(), "prog: ") {
		t.Errorf("status %d, %q", status, text.String())
	}
}

func TestErrorUnwraps(t *testing.T) {
	if err := cli.Fail(cli.Config, io.ErrUnexpectedEOF, "hint"); !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != io.ErrUnexpectedEOF.Error() {
		t.Errorf("got %v", err)
	}
}

// The first signal ends the context, the second the process.
func TestInterrupted(t *testing.T) {
	if os.Getenv("CLI_TEST_CHILD") == "1" {
		ctx, stop := cli.Interrupted(context.Background())
		defer stop()
		fmt.Println("ready")
		<-ctx.Done()
		fmt.Println("first")
		select {}
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestInterrupted$")
		child.Env = append(os.Environ(), "CLI_TEST_CHILD=1")
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"ready\n", "first\n"} {
			got := make([]byte, len(want))
			if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
				t.Fatalf("%v: %q, %v", signal, got, err)
			}
			if err := child.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
		}
		err = child.Wait()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			t.Fatalf("%v: the second signal did not end the process: %v", signal, err)
		}
		if status := exit.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != signal {
			t.Errorf("%v: ended with %v", signal, exit)
		}
	}
}
