// Command guest is what works on the outbox inside the virtual machine of test/vm/powercut.sh, and what looks afterwards at
// what is left of it. It tells the host line by line through the file descriptor 3, a port of the machine:
//
//	open MS EPOCH                    Open has returned, MS milliseconds after the start of the program
//	check TEXT                       what Check found: "sound", or each file's problem
//	item ID PRODUCER N               a message in the queue, in the order of the drain; its body was right
//	gap ID EPOCH LANE FROM TO MESSAGES REASON
//	bad ID                           a message whose body is not what was put
//	dead ID                          a dead letter
//	listed COUNT                     that was all
//	work MS                          the work begins; MS is max_loss
//	put MS DURABLE PRODUCER N ID...  Put has returned nil for these, the bodies N, N+1, ... of a producer
//	ask TICKET ID...                 these are about to be acknowledged; the guest waits for the host's TICKET
//	acked MS ID...                   Ack has returned nil
//	rejected ID                      Reject has returned nil
//	now MS                           nothing else has happened
//	fail TEXT                        something went wrong that never should
//
// Milliseconds are since the start of the program.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"iotagent/outbox"
)

func main() {
	p := &port{f: os.NewFile(3, "port"), began: time.Now()}
	if err := run(context.Background(), p, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		p.say("fail %v", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, p *port, args []string) error {
	switch {
	case len(args) == 3 && args[0] == "work":
		return work(ctx, p, args[1], args[2])
	case len(args) == 2 && args[0] == "list":
		return look(ctx, p, args[1])
	case len(args) == 4 && args[0] == "lines":
		return lines(args[1:])
	case len(args) == 1 && args[0] == "vouch":
		return vouch()
	case len(args) >= 2 && args[0] == "nosync":
		return nosync(args[1:])
	}
	return errors.New("usage: guest work MODE BOOT | list DIR | lines PRODUCER N COUNT | vouch | nosync PROGRAM [ARGUMENT]")
}

// lines prints bodies for `iotagent send --lines`.
func lines(args []string) error {
	var n [3]uint64
	for i, a := range args {
		var err error
		if n[i], err = strconv.ParseUint(a, 10, 64); err != nil {
			return err
		}
	}
	for i := range n[2] {
		fmt.Printf("%s\n", body(n[0], n[1]+i))
	}
	return nil
}

// mode says how the outbox is opened and used.
type mode struct {
	name    string
	options outbox.Options
	drain   bool // acknowledge
}

func modes() []mode {
	return []mode{
		{name: "drain", drain: true, options: outbox.Options{MaxBytes: 64 << 20}},
		{name: "staged", drain: true, options: outbox.Options{MaxBytes: 64 << 20, MaxLoss: time.Second}},
		{name: "quota", options: outbox.Options{MaxBytes: 8 << 20}},
		{name: "look", options: outbox.Options{MaxBytes: 64 << 20}},
	}
}
