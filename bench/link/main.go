// Command link measures how fast telemetry reaches a hub over TLS: iotagent beside the AMQP library that it is built on and beside
// Microsoft's SDK for Node, each client in a process of its own, all against the same sink.
//
//	link [-rounds N] [-scale F] [-only NAME,…] [-data DIR] [-out DIR] [-update FILE] [-profile DIR]
//
// `make bench-link` runs it. The other commands are its own processes: sink, relay, fill, client.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
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
		case "sink":
			return sinkCommand(ctx, args[1:])
		case "relay":
			return relayCommand(ctx, args[1:])
		case "fill":
			return fillCommand(ctx, args[1:])
		case "client":
			return clientCommand(ctx, args[1:])
		}
	}
	return measureCommand(ctx, args)
}

// say prints one value as a line of JSON: how the processes of a run talk.
func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// progress says on standard error what is being done.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
