// Command outbox measures package outbox beside what it could have been built on.
//
//	outbox speed [-queued N] [-data DIR] [-out DIR] [-update FILE]
//	outbox flash [-span DURATION] [-data DIR] [-out DIR] [-update FILE]
//
// `make bench-outbox` and `make bench-flash` run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"iotagent/bench/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("speed or flash?")
	}
	switch args[0] {
	case "speed":
		return speedCommand(ctx, args[1:])
	case "flash":
		return flashCommand(ctx, args[1:])
	case "child":
		return childCommand(ctx, args[1:])
	}
	return fmt.Errorf("no command called %q: speed or flash", args[0])
}

// output is where the figures go.
type output struct {
	dir, document string
	data          string   // folder for the stores
	lock          *os.File // of the folder for the stores, until the program ends
}

func (o *output) flags(f *flag.FlagSet) {
	f.StringVar(&o.dir, "out", ".build/bench", "folder for the figures")
	f.StringVar(&o.data, "data", "", "folder for the stores while it runs; a tmpfs leaves the disk and its other users out (default: data in the other folder)")
	f.StringVar(&o.document, "update", "", "document whose figures are replaced")
}

// scratch returns the folder for the stores, which no other run may use meanwhile.
func (o *output) scratch() (dir string, err error) {
	if dir = o.data; dir == "" {
		dir = filepath.Join(o.dir, "data")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if o.lock, err = os.Open(dir); err != nil {
		return "", err
	}
	if err := unix.Flock(int(o.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return "", fmt.Errorf("%s: another run is busy here: %w", dir, err)
	}
	return dir, nil
}

// write prints the text and saves it and the figures.
func (o *output) write(name string, figures any, text string) error {
	fmt.Print(text)
	if err := report.Save(o.dir, name, figures, text); err != nil {
		return err
	}
	if o.document == "" {
		return nil
	}
	return report.Update(o.document, name, text)
}

// progress says on standard error what is being done.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
