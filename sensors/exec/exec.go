package execsensor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"iotagent/internal/program"
	"iotagent/sensors"
)

// device is one program.
type device struct {
	cmd    program.Command
	sample string
}

var _ sensors.Sensor = (*device)(nil)

// String names the program.
func (d *device) String() string { return "exec@" + d.cmd.Path }

// Halt has nothing to do: no program runs between two readings.
func (d *device) Halt() error { return nil }

// Read runs the program once.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	samples, err := d.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

func (d *device) read(ctx context.Context) ([]sensors.Sample, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, err
	}
	stdout, stderr := &program.Head{Max: maxOutput}, &program.Tail{Max: maxWords}
	exit := d.cmd.Run(ctx, "", stdout, stderr)
	if err := failure(ctx, &exit); err != nil {
		if words := lastLine(stderr.String()); words != "" {
			err = fmt.Errorf("%w: %s", err, words)
		}
		return nil, err
	}
	if stdout.Cut() {
		return nil, fmt.Errorf("it printed more than %d KiB; want one number or one JSON object of numbers", maxOutput>>10)
	}
	return parse(stdout.String(), d.sample)
}

// failure says why a program's output does not count; nil for exit status 0.
func failure(ctx context.Context, e *program.Exit) error {
	status, signal := e.Status()
	switch {
	case !e.Started && errors.Is(e.Err, fs.ErrNotExist):
		return fmt.Errorf("not started: %w: %w", sensors.ErrAbsent, e.Err)
	case !e.Started && errors.Is(e.Err, syscall.ENOEXEC):
		return fmt.Errorf("not started: this is no program for this machine; does a script begin with #!/bin/sh: %w", syscall.ENOEXEC)
	case !e.Started:
		return fmt.Errorf("not started: %w", e.Err)
	case e.TimedOut:
		return fmt.Errorf("was ended before it was done: %w", sensors.Expired(ctx))
	case e.Err == nil:
		return nil
	case signal != 0:
		return fmt.Errorf("was ended by signal %d (%s)", int(signal), signal)
	case status != 0:
		return fmt.Errorf("exit status %d", status)
	}
	return e.Err
}

func lastLine(text string) string {
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}
