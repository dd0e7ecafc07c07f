package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"iotagent/c2d"
	"iotagent/iothub"
	"iotagent/outbox"
)

// session is one connection's work: sending in its own goroutine's order, settling, receiving commands.
type session struct {
	*link
	c *iothub.Client
	// inFlight holds the receipts in the order of the sends; its room is the window in messages.
	inFlight chan sent
	// bytes is the window in bytes.
	bytes *semaphore.Weighted
	pace  *pace
	// worked is set by the first accepted message.
	worked atomic.Bool
}

type sent struct {
	id      outbox.ID
	size    int64
	receipt *iothub.Receipt
}

const (
	// windowMessages and windowBytes bound what is in flight: enough to fill a link of 50 ms round trip, little enough for 512 MB boards.
	windowMessages = 512
	windowBytes    = 1 << 20
	// chunk is how many entries are taken from the outbox at once.
	chunk      = 64
	chunkBytes = 256 << 10
	// sendPromise is how long one step of the sender may take before the watchdog counts it as stuck: the client gives up earlier.
	sendPromise = 3 * time.Minute
	idleBeat    = 15 * time.Second
)

func newSession(l *link, c *iothub.Client) *session {
	return &session{link: l, c: c, inFlight: make(chan sent, windowMessages), bytes: semaphore.NewWeighted(windowBytes), pace: newPace()}
}

// run works until the connection ends, whose error it returns, or ctx is done. Afterwards nothing of this connection is in flight.
func (s *session) run(ctx context.Context) error {
	sctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { s.settle(context.WithoutCancel(ctx)) })
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
	s.send(sctx)
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

// send hands entries to the hub until ctx is done or the client fails.
func (s *session) send(ctx context.Context) {
	for ctx.Err() == nil {
		changed := s.queue.Changed()
		if until := s.pace.pausedUntil(); time.Now().Before(until) {
			s.idle(ctx, nil, time.Until(until))
			continue
		}
		s.set(func(st *LinkStatus) { st.PausedUntil = nil })
		entries, err := s.queue.Next(chunk, chunkBytes)
		if err != nil {
			s.log.Error("outbox not readable", "error", err)
			s.idle(ctx, nil, idleBeat)
			continue
		}
		if len(entries) == 0 {
			s.idle(ctx, changed, idleBeat)
			continue
		}
		s.sendAll(ctx, entries)
	}
}

// idle waits for a change, for d or for the end.
func (s *session) idle(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	s.pulse.within("link", d+slack)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-t.C:
	}
}

func (s *session) sendAll(ctx context.Context, entries []outbox.Entry) {
	for i, e := range entries {
		s.pulse.within("link", sendPromise)
		if err := s.sendOne(ctx, e); err != nil {
			for _, left := range entries[i:] {
				s.queue.Release(left.ID)
			}
			return
		}
	}
}

// sendOne puts one entry in flight. An error means that it is not, and that no more should follow now.
func (s *session) sendOne(ctx context.Context, e outbox.Entry) error {
	m, err := message(e)
	if err != nil {
		return s.bury(e.ID, err.Error())
	}
	size := min(int64(m.Size()), windowBytes)
	if err := s.bytes.Acquire(ctx, size); err != nil {
		return fmt.Errorf("wait for the window: %w", err)
	}
	r, err := s.c.Send(ctx, m)
	if err != nil {
		s.bytes.Release(size)
		s.log.Debug("send", "error", err) // the connection has ended, which run reports; it says nothing about this message
		return err
	}
	s.inFlight <- sent{id: e.ID, size: size, receipt: r}
	return nil
}

// settle takes the outcomes in the order of the sends and tells the outbox. It returns when inFlight is closed and empty; each Wait
// ends at the latest with the connection.
func (s *session) settle(ctx context.Context) {
	for f := range s.inFlight {
		o := f.receipt.Wait(ctx)
		s.bytes.Release(f.size)
		s.outcome(f.id, o)
		select {
		case s.progress <- struct{}{}:
		default:
		}
	}
}

// outcome does with each fate of a message what ARCHITECTURE.md says (life of a reading, 6).
func (s *session) outcome(id outbox.ID, o iothub.Outcome) {
	switch o.State {
	case iothub.Accepted:
		s.worked.Store(true)
		s.pace.accepted(id)
		if err := s.queue.Ack(id); err != nil {
			s.log.Error("acknowledgement not written; the message may be sent twice", "id", id.String(), "error", err)
		}
		s.set(func(st *LinkStatus) { st.Sent++ })
	case iothub.Rejected:
		s.rejected(id, o.Err)
	case iothub.Released, iothub.Modified:
		s.again(id)
		s.slowDown(iothub.ClassNetwork)
	case iothub.Unknown:
		s.again(id)
	}
}

func (s *session) rejected(id outbox.ID, err *iothub.Error) {
	class := iothub.ClassUnknown
	if err != nil {
		class = err.Class
	}
	switch class {
	case iothub.ClassMessage:
		_ = s.bury(id, reason(err))
	case iothub.ClassUnknown:
		if s.pace.tried(id) >= maxTries {
			_ = s.bury(id, reason(err))
			return
		}
		s.again(id)
		s.slowDown(class)
	default: // the hub's trouble, not the message's: kept, and the link slows down
		s.again(id)
		s.slowDown(class)
	}
}

func reason(err *iothub.Error) string {
	if err == nil {
		return "rejected by the hub without a reason"
	}
	return err.Error()
}

func (s *session) again(id outbox.ID) {
	s.queue.Release(id)
	s.set(func(st *LinkStatus) { st.Resent++ })
}

// bury moves a message that the hub will never take to the dead letters.
func (s *session) bury(id outbox.ID, why string) error {
	s.log.Error("message put to the dead letters", "id", id.String(), "reason", why)
	if err := s.queue.Reject(id, why); err != nil {
		s.queue.Release(id)
		return fmt.Errorf("dead letter %s: %w", id, err)
	}
	s.pace.accepted(id)
	s.set(func(st *LinkStatus) { st.Dead++ })
	return nil
}

func (s *session) slowDown(class iothub.Class) {
	until, fresh := s.pace.pause(class)
	if !fresh {
		return
	}
	s.set(func(st *LinkStatus) { st.PausedUntil = &until })
	if class != iothub.ClassNetwork {
		s.log.Warn("the hub wants fewer messages", "class", string(class), "pause", time.Until(until).Round(time.Millisecond).String())
	}
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
