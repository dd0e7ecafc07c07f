package hubsim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// noteLocked wakes everyone who waits for a change.
func (s *Server) noteLocked() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// WaitFor returns when cond holds; it is asked after each change of the hub and may call any method of the Server that returns state.
func (s *Server) WaitFor(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		closed := s.closed
		s.mu.Unlock()
		if cond() {
			return nil
		}
		if closed {
			return ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the hub: %w", context.Cause(ctx))
		}
	}
}

// WaitEvents waits until n telemetry messages were accepted in all, and returns those that are kept.
func (s *Server) WaitEvents(ctx context.Context, n int) ([]*Event, error) {
	err := s.WaitFor(ctx, func() bool { return s.Accepted() >= n })
	return s.Events(), err
}

// WaitFeedback waits until n feedback records were made in all, and returns them.
func (s *Server) WaitFeedback(ctx context.Context, n int) ([]FeedbackRecord, error) {
	err := s.WaitFor(ctx, func() bool { return len(s.Feedback()) >= n })
	return s.Feedback(), err
}

// Accepted returns how many telemetry messages were accepted so far.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.accepted)
}

// Events returns the telemetry messages that are kept, over all partitions, in the order of their acceptance.
func (s *Server) Events() []*Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Event
	for _, p := range s.partitions {
		all = append(all, p.events...)
	}
	slices.SortFunc(all, func(a, b *Event) int { return cmp.Compare(a.nth, b.nth) })
	return all
}

// Feedback returns the feedback records made so far (the last 10 000), sent to a service or not.
func (s *Server) Feedback() []FeedbackRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.feedback.all)
}

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Sockets returns how many connections there are at all, those included that are not open yet, or not any more.
func (s *Server) Sockets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}

// Links returns the addresses of the attached links of a device, or of a module as "DEVICE/MODULE", sorted: its path ("/devices/ID",
// "/devices/ID/modules/MODULE") and "/messages/devicebound", "/messages/events", "/methods/devicebound" or "/twin", the last two once for each
// direction.
func (s *Server) Links(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	d := s.devices[id]
	if d == nil {
		return nil
	}
	for c := range s.conns {
		for l := range c.links {
			switch {
			case l.addr.identity() != id:
			case l.addr.node == nodeTelemetry:
				all = append(all, d.path()+"/messages/events")
			case l.addr.node == nodeCommands:
				all = append(all, d.path()+"/messages/devicebound")
			case l.addr.node == nodeTwin:
				all = append(all, d.path()+"/twin")
			case l.addr.node == nodeMethods:
				all = append(all, d.path()+"/methods/devicebound")
			}
		}
	}
	slices.Sort(all)
	return all
}

// Queued returns how many commands the hub holds for a device, or for a module as "DEVICE/MODULE", delivered and unsettled ones included.
func (s *Server) Queued(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[id]; d != nil {
		return len(d.commands.items)
	}
	return 0
}

// TokenRequests returns how many put-token requests came since the last OnToken.
func (s *Server) TokenRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.tokenSeen
}
