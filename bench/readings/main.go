// Command readings measures what readings cost: processor time and allocations of each step from the bus to the outbox, fifty sensors at ten
// readings a second, and the memory of a process that has taken millions.
//
//	readings [-readings N] [-seconds N] [-millions N] [-agent FILE -hub FILE] [-out DIR] [-update FILE]
//
// `make bench-sensors` runs it. Chips and their adapter are simulated in memory, so that what is measured is ours and not a bus's. The command
// measures in processes of its own: load, flat.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

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
	if len(args) > 0 {
		switch args[0] {
		case "load":
			return loadCommand(ctx, args[1:])
		case "flat":
			return flatCommand(ctx, args[1:])
		}
	}
	return measureCommand(ctx, args)
}

// figures is everything that one run measured.
type figures struct {
	Time    time.Time `json:"time"`
	Machine string    `json:"machine"`
	Costs   []cost    `json:"costs"`
	Loads   []load    `json:"loads"`
	Flat    []mark    `json:"flat"`
}

func measureCommand(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("readings", flag.ContinueOnError)
	readings := f.Int("readings", 200_000, "readings for each line of the costs")
	seconds := f.Int("seconds", 20, "how long each load lasts")
	millions := f.Int("millions", 10, "readings for the memory, in millions")
	agent, hub := f.String("agent", "", "the built iotagent; without one it is left out"), f.String("hub", "", "the built hubsim")
	out := f.String("out", ".build/bench", "folder for the figures")
	document := f.String("update", "", "document whose figures are replaced")
	if err := f.Parse(args); err != nil {
		return err
	}
	got := figures{Time: time.Now().UTC().Truncate(time.Second), Machine: report.Machine()}
	var err error
	if got.Costs, err = costs(ctx, *readings); err != nil {
		return err
	}
	if got.Loads, err = loads(ctx, time.Duration(*seconds)*time.Second, *agent, *hub); err != nil {
		return err
	}
	if got.Flat, err = flat(ctx, *millions); err != nil {
		return err
	}
	text := got.text()
	fmt.Print(text)
	err = report.Save(*out, "sensors", got, text)
	if *document != "" {
		err = errors.Join(err, report.Update(*document, "sensors", text))
	}
	return err
}

// say prints one value as a line of JSON: how the processes of a run talk.
func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// progress says on standard error what is being done.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
