package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"iotagent/c2d"
	"iotagent/iothub"
)

// session is one connection's work: a sender, a settler and a receiver of commands.
type session struct {
	*link
	c *iothub.Client
	// inFlight holds what was sent, in that order. It has room for whatever the window allows.
	inFlight chan parcel
	// worked is set by the first accepted message.
	worked atomic.Bool
}

func newSession(l *link, c *iothub.Client) *session {
	return &session{link: l, c: c, inFlight: make(chan parcel, windowTransfers)}
}

// run works until the connection ends, whose error it returns, or ctx is done. Afterwards nothing of this connection is in flight.
func (s *session) run(ctx context.Context) error {
	sctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.queue.Mark()
	s.up.begin()
	var wg sync.WaitGroup
	wg.Go(func() { (&settler{session: s}).run(context.WithoutCancel(ctx)) })
	if s.router != nil {
		wg.Go(func() { s.receive(sctx) })
	}
	wg.Go(func() { // the connection's end ends every wait of this session
		select {
		case <-s.c.Done():
			cancel()
		case <-sctx.Done():
		}
	})
	(&sender{session: s}).run(sctx)
	close(s.inFlight)
	cancel()
	cctx, stop := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer stop()
	err := s.c.Err() // before Close makes one
	if cerr := s.c.Close(cctx); err == nil && ctx.Err() == nil {
		err = errors.Join(s.c.Err(), cerr)
	}
	wg.Wait()
	if err == nil {
		err = errors.New("connection closed")
	}
	return err
}

// receive hands commands to the router until no more are to be taken.
func (s *session) receive(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.receiving, cancel)() //nolint:contextcheck // two contexts end it: the session and the taking of commands
	for {
		d, err := s.c.Receive(ctx)
		if err != nil {
			return // the connection's end, which run reports
		}
		s.router.Deliver(context.WithoutCancel(ctx), command(d), func(ctx context.Context, a c2d.Settlement, why string) error {
			return s.c.Settle(ctx, d, settlement(a), why)
		})
	}
}

// command makes the router's form of a delivery. Its key is the message-id; without one, when and where in the hub's queue it came.
func command(d *iothub.Delivery) c2d.Command {
	c := c2d.Command{ID: d.ID, MessageID: d.MessageID, Name: d.Properties["command"], Body: d.Body, Expires: d.Expires}
	if c.Name == "" {
		c.Name = d.Subject
	}
	if c.ID == "" {
		c.ID = fmt.Sprintf("seq:%d:%d", d.Enqueued.UnixMilli(), d.Sequence)
	}
	return c
}

func settlement(a c2d.Settlement) iothub.Settlement {
	switch a {
	case c2d.Accept:
		return iothub.Accept
	case c2d.Release:
		return iothub.Release
	case c2d.Reject:
	}
	return iothub.Reject
}
