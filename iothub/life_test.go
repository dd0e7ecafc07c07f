package iothub_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iotagent/iothub"
	"iotagent/iothub/transport"
)

const (
	events   = "/devices/" + device + "/messages/events"
	commands = "/devices/" + device + "/messages/devicebound"
)

// life is a device as the agent is one: it dials anew when a client has ended, sends each message until it is accepted, and accepts commands.
type life struct {
	*bed
	o     *iothub.Options
	dials atomic.Int64
	end   context.CancelFunc
	ctx   context.Context
	wg    sync.WaitGroup

	mu      sync.Mutex
	client  *iothub.Client
	there   chan struct{} // closed when there is another client
	sent    int
	settled map[int]bool
	got     map[string]int // commands, by message-id
	seen    []time.Time    // writes to the transport
}

// alive starts a device; stop ends it.
func alive(t *testing.T, b *bed) *life {
	t.Helper()
	l := &life{bed: b, o: b.options(), there: make(chan struct{}), settled: map[int]bool{}, got: map[string]int{}}
	l.ctx, l.end = context.WithCancel(t.Context())
	dial := l.o.Dial
	l.o.Dial = func(ctx context.Context, e transport.Endpoint) (net.Conn, error) {
		l.dials.Add(1)
		nc, err := dial(ctx, e)
		return &watched{nc, l}, err
	}
	l.wg.Go(l.keep)
	l.within(time.Second, "online at first", func(s iothub.Status) bool { return s.Online() })
	return l
}

// watched takes note of writes.
type watched struct {
	net.Conn
	l *life
}

func (w *watched) Write(p []byte) (int, error) {
	w.l.mu.Lock()
	w.l.seen = append(w.l.seen, time.Now())
	w.l.mu.Unlock()
	return w.Conn.Write(p)
}

func (l *life) stop() {
	l.end()
	l.wg.Wait()
}

func (l *life) keep() {
	for l.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(l.ctx, 20*time.Second)
		c, err := iothub.Dial(ctx, l.o)
		cancel()
		if err != nil {
			l.pause(time.Second)
			continue
		}
		l.put(c)
		l.wg.Go(func() { l.obey(c) })
		select {
		case <-c.Done():
		case <-l.ctx.Done():
		}
		l.put(nil)
		closeNow(l.t, c)
	}
}

func (l *life) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
}

func (l *life) put(c *iothub.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client = c
	close(l.there)
	l.there = make(chan struct{})
}

func (l *life) get() (*iothub.Client, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.client, l.there
}

// obey accepts commands.
func (l *life) obey(c *iothub.Client) {
	for {
		d, err := c.Receive(l.ctx)
		if err != nil {
			return
		}
		if c.Settle(l.ctx, d, iothub.Accept, "") == nil {
			l.mu.Lock()
			l.got[d.MessageID]++
			l.mu.Unlock()
		}
	}
}

// say sends the next message, and again until it is accepted.
func (l *life) say() {
	l.mu.Lock()
	l.sent++
	n := l.sent
	l.mu.Unlock()
	l.wg.Go(func() {
		for !l.deliver(n) && l.ctx.Err() == nil {
		}
	})
}

func (l *life) deliver(n int) bool {
	c, there := l.get()
	if c == nil {
		select {
		case <-there:
		case <-l.ctx.Done():
		}
		return false
	}
	r, err := c.Send(l.ctx, message(n))
	if err != nil {
		select {
		case <-c.Done():
		case <-l.ctx.Done():
		}
		l.pause(time.Millisecond)
		return false
	}
	if r.Wait(l.ctx).State != iothub.Accepted {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled[n] = true
	return true
}

// busy says something every other second, until the device stops.
func (l *life) busy() {
	l.wg.Go(func() {
		for l.ctx.Err() == nil {
			l.say()
			l.pause(2 * time.Second)
		}
	})
}

func (l *life) status() iothub.Status {
	c, _ := l.get()
	if c == nil {
		return iothub.Status{}
	}
	return c.Status()
}

// within waits for a state and returns how long that took.
func (l *life) within(d time.Duration, what string, cond func(iothub.Status) bool) time.Duration {
	l.t.Helper()
	start := time.Now()
	for !cond(l.status()) {
		if time.Since(start) > d {
			l.t.Fatalf("%s: not within %v; %+v", what, d, l.status().Parts)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(start)
}

// all reports whether every message that was said so far is accepted.
func (l *life) all() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.settled) == l.sent
}

// whole fails the test when the hub lacks a message, or has one with two contents.
func (l *life) whole() {
	l.t.Helper()
	bodies := map[string]string{}
	for _, e := range l.Events() {
		if old, again := bodies[e.MessageID]; again && old != string(e.Data()) {
			l.t.Errorf("%s came with two contents", e.MessageID)
		}
		bodies[e.MessageID] = string(e.Data())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.settled {
		if bodies[message(n).ID] == "" {
			l.t.Errorf("message %d was called accepted and is not at the hub", n)
		}
	}
}

// obeys fails the test unless a command is received and settled within a second.
func (l *life) obeys(id string) {
	l.t.Helper()
	if err := l.SendCommand(device, command(id, "x")); err != nil {
		l.t.Fatal(err)
	}
	l.within(time.Second, "a command", func(iothub.Status) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.got[id] == 1
	})
}
