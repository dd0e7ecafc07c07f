// Package cli is what the three programs share as command lines: exit statuses, one line for an error, one for the hint,
// and signals.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"iotagent/internal/version"
)

// Exit statuses.
const (
	OK     = 0
	Failed = 1  // at run time: hub, disk, another daemon holds the state
	Config = 78 // the configuration, an unreadable secret included (EX_CONFIG of sysexits.h)
	Usage  = 80 // the command line
)

// Error is an error with an exit status and advice.
type Error struct {
	// Status is the exit status; 0 means Failed.
	Status int
	// Hint says what to do next; may be "".
	Hint string
	// Err is what is printed.
	Err error
	// Bare leaves the program's name out: each line of Err begins with file:line:column, which editors jump to.
	Bare bool
}

// Error returns the text of Err.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Fail wraps err, nil stays nil.
func Fail(status int, err error, hint string) error {
	if err == nil {
		return nil
	}
	return &Error{Status: status, Hint: hint, Err: err}
}

// Mistakes wraps what is wrong with a configuration, a line each that begins with the place; nil stays nil.
func Mistakes(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &Error{Status: Config, Hint: hint, Err: err, Bare: true}
}

// Name is the program's.
type Name string

// IO is what a command reads and writes.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run parses args into model (a pointer to a kong struct whose commands have Run(ctx, IO) error methods, both bound), runs the
// command and returns the exit status. Help is printed to stdout, everything else that is wrong to stderr.
func Run(ctx context.Context, name, description string, args []string, model any, std IO, more ...kong.Option) int {
	ended := -1 // the status of --help and --version, after which kong goes on parsing
	options := append([]kong.Option{
		kong.Exit(func(status int) { ended = status }),
		kong.Name(name), kong.Description(description), kong.Writers(std.Out, std.Err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"version": version.String()},
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std), kong.Bind(Name(name)),
	}, more...)
	parser, err := kong.New(model, options...)
	if err != nil {
		return report(std.Err, name, err)
	}
	command, err := parser.Parse(args)
	if ended >= 0 {
		return ended
	}
	if err != nil {
		return report(std.Err, name, Fail(Usage, err, fmt.Sprintf("%s --help lists the commands and flags", name)))
	}
	return report(std.Err, name, command.Run())
}

// report prints err as `name: …`, bare where it names its own place, and `hint: …`, and returns its exit status. Several lines of an error stay several lines.
func report(w io.Writer, name string, err error) int {
	if err == nil {
		return OK
	}
	status, hint, prefix := Failed, "", name+": "
	if e, ok := errors.AsType[*Error](err); ok {
		hint = e.Hint
		if e.Status != 0 {
			status = e.Status
		}
		if e.Bare {
			prefix = ""
		}
	}
	for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
		fmt.Fprintf(w, "%s%s\n", prefix, line)
	}
	if hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
	return status
}

// Std returns the process's own streams.
func Std() IO { return IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr} }

// Interrupted returns a context that ends at the first SIGINT or SIGTERM. By then signals have their own meaning again: a second one ends the process
// at once, as it would without us.
func Interrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
		case <-ctx.Done():
		}
		signal.Stop(signals)
		cancel()
	}()
	return ctx, cancel
}
