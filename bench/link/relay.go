package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	relayChunk = 64 << 10
	// relayQueue is how many chunks may be under way in each direction: far more than fit into the delay.
	relayQueue = 1 << 14
)

// relayCommand passes connections on to another address, everything later by a delay and nothing slower, until standard input ends.
func relayCommand(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("relay", flag.ContinueOnError)
	to, delay := f.String("to", "", "address"), f.Duration("delay", 0, "in each direction")
	if err := f.Parse(args); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { relay(ctx, conn, *to, *delay) })
		}
	})
	err = say(sinkAddress{l.Addr().String()})
	if err == nil {
		_, err = io.Copy(io.Discard, os.Stdin)
	}
	cancel()
	err = errors.Join(err, l.Close())
	wg.Wait()
	return err
}

// relay joins a connection with one to the address until both directions have ended, or ctx has.
func relay(ctx context.Context, from net.Conn, to string, delay time.Duration) {
	onward, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	if err != nil {
		_ = from.Close() // the client sees why
		return
	}
	cut := func() { _, _ = from.Close(), onward.Close() } // their ends are what is wanted
	defer cut()
	defer context.AfterFunc(ctx, cut)()
	var wg sync.WaitGroup
	wg.Go(func() { later(onward, from, delay) })
	wg.Go(func() { later(from, onward, delay) })
	wg.Wait()
}

type chunk struct {
	due  time.Time
	data []byte
}

// later copies until from ends, each byte delay after it came, then ends the other side.
func later(to, from net.Conn, delay time.Duration) {
	queue := make(chan chunk, relayQueue)
	go func() {
		defer close(queue)
		for {
			data := make([]byte, relayChunk)
			n, err := from.Read(data)
			if n > 0 {
				queue <- chunk{time.Now().Add(delay), data[:n:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	var err error
	for c := range queue {
		time.Sleep(time.Until(c.due))
		if err == nil { // after an error it goes on only to let the reader end
			_, err = to.Write(c.data)
		}
	}
	_ = to.Close() // the other direction ends by it
}
