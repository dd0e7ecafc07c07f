// Package outboxtest holds what tests of the outbox's users need: a queue in memory and a check of the files.
package outboxtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"iotagent/outbox"
)

// Memory is a Queue and an Admin in memory, with the order and the ids of the real one. It has no quota: Purge alone makes gaps. Set Fail
// to make all its methods that return an error fail, Close excepted. Use NewMemory.
type Memory struct {
	// LiveFirst is that of outbox.Options. Set it before the first call.
	LiveFirst bool

	mu      sync.Mutex
	mark    [3]uint64 // the last sequence number of the backlog
	marked  bool
	fail    error
	closed  bool
	epoch   uint64
	seq     [3]uint64
	queue   [3][]*kept
	flight  map[outbox.ID]*kept
	dead    []outbox.DeadLetter
	changed chan struct{}
	stats   outbox.Stats
	files   []outbox.FileReport
}

type kept struct {
	entry   outbox.Entry
	at      time.Time
	durable bool
}

var _ outbox.Queue = (*Memory)(nil)

// NewMemory returns an empty queue whose messages have the epoch given.
func NewMemory(epoch uint64) *Memory {
	return &Memory{epoch: epoch, flight: make(map[outbox.ID]*kept), changed: make(chan struct{})}
}

// Fail makes every call that returns an error return this one, until Fail(nil). Put then wraps nothing and queues nothing.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func (m *Memory) errLocked() error {
	if m.closed {
		return outbox.ErrClosed
	}
	return m.fail
}

func (m *Memory) signalLocked() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Put implements outbox.Queue.
func (m *Memory) Put(ctx context.Context, ms ...outbox.Message) ([]outbox.ID, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.errLocked(); err != nil {
		return nil, err
	}
	for i := range ms {
		if ms[i].Lane > outbox.Bulk {
			return nil, fmt.Errorf("message %d: no such lane: %s", i, ms[i].Lane)
		}
		if len(ms[i].Body) > 256<<10 {
			return nil, fmt.Errorf("message %d: %w", i, outbox.ErrTooLarge)
		}
	}
	var ids []outbox.ID
	for _, msg := range ms {
		m.seq[msg.Lane]++
		id := outbox.ID{Epoch: m.epoch, Lane: msg.Lane, Seq: m.seq[msg.Lane]}
		e := outbox.Entry{ID: id, First: id.Seq, Body: append([]byte{}, msg.Body...), Readings: msg.Readings}
		m.queue[msg.Lane] = append(m.queue[msg.Lane], &kept{entry: e, at: time.Now().UTC(), durable: msg.Durable})
		m.stats.Put[msg.Lane]++
		ids = append(ids, id)
	}
	if len(ids) > 0 {
		m.signalLocked()
	}
	return ids, nil
}

// Next implements outbox.Queue.
func (m *Memory) Next(max, maxBytes int) ([]outbox.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.errLocked(); err != nil {
		return nil, err
	}
	var out []outbox.Entry
	for len(out) < max {
		lane, at := m.frontLocked()
		if at < 0 {
			break
		}
		k := m.queue[lane][at]
		if len(out) > 0 && len(k.entry.Body) > maxBytes {
			break
		}
		maxBytes -= len(k.entry.Body)
		out = append(out, k.entry)
		k.entry.Sent = true
		m.flight[k.entry.ID] = k
		if at == 0 {
			m.queue[lane] = m.queue[lane][1:]
		} else {
			m.queue[lane] = slices.Delete(m.queue[lane], at, at+1)
		}
	}
	return out, nil
}

// frontLocked returns the lane of what is handed out next and its index there, -1 when nothing waits.
func (m *Memory) frontLocked() (lane outbox.Lane, at int) {
	if !m.marked || len(m.queue[outbox.Alarm]) > 0 {
		for lane := range m.queue {
			if len(m.queue[lane]) > 0 {
				return outbox.Lane(lane), 0
			}
		}
		return 0, -1
	}
	for _, live := range []bool{true, false} {
		for _, lane := range []outbox.Lane{outbox.Normal, outbox.Bulk} {
			q := m.queue[lane]
			backlog, _ := slices.BinarySearchFunc(q, m.mark[lane], func(k *kept, mark uint64) int { return cmp.Compare(k.entry.ID.Seq, mark+1) })
			from, to := 0, backlog
			if live {
				from, to = backlog, len(q)
			}
			if from == to {
				continue
			}
			released := slices.IndexFunc(q[from:to], func(k *kept) bool { return k.entry.Sent })
			return lane, from + max(released, 0)
		}
	}
	return 0, -1
}

// Ack implements outbox.Queue.
func (m *Memory) Ack(ids ...outbox.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.errLocked(); err != nil {
		return err
	}
	for _, id := range ids {
		if m.flight[id] != nil {
			delete(m.flight, id)
			m.stats.Acked[id.Lane]++
		}
	}
	return nil
}

// Release implements outbox.Queue.
func (m *Memory) Release(ids ...outbox.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	touched := false
	for _, id := range ids {
		k := m.flight[id]
		if k == nil {
			continue
		}
		delete(m.flight, id)
		q := m.queue[id.Lane]
		at, _ := slices.BinarySearchFunc(q, k, func(a, b *kept) int { return int(a.entry.ID.Seq) - int(b.entry.ID.Seq) })
		m.queue[id.Lane] = slices.Insert(q, at, k)
		touched = true
	}
	if touched && !m.closed {
		m.signalLocked()
	}
}

// Reject implements outbox.Queue.
func (m *Memory) Reject(id outbox.ID, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.errLocked(); err != nil {
		return err
	}
	k := m.flight[id]
	if k == nil {
		return nil
	}
	delete(m.flight, id)
	m.stats.Rejected[id.Lane]++
	m.dead = append(m.dead, outbox.DeadLetter{
		ID: id, Body: k.entry.Body, Readings: k.entry.Readings, Gap: k.entry.Gap, Reason: reason, At: time.Now().UTC(), Put: k.at,
	})
	return nil
}

// DeadLetters returns up to limit rejected messages, oldest first.
func (m *Memory) DeadLetters(limit int) ([]outbox.DeadLetter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.errLocked(); err != nil {
		return nil, err
	}
	return slices.Clone(m.dead[:min(limit, len(m.dead))]), nil
}

// Mark implements outbox.Queue.
func (m *Memory) Mark() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.LiveFirst {
		m.mark, m.marked = m.seq, true
	}
}

// Changed implements outbox.Queue.
func (m *Memory) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Sync implements outbox.Queue.
func (m *Memory) Sync(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.errLocked(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// Stats implements outbox.Queue.
func (m *Memory) Stats() outbox.Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Epoch, s.InFlight, s.Dead = m.epoch, len(m.flight), uint64(len(m.dead))
	count := func(k *kept) {
		l := k.entry.ID.Lane
		s.Queued[l]++
		s.Bytes[l] += uint64(len(k.entry.Body))
		if s.Oldest[l].IsZero() || k.at.Before(s.Oldest[l]) {
			s.Oldest[l] = k.at
		}
	}
	for lane := range m.queue {
		for _, k := range m.queue[lane] {
			count(k)
		}
	}
	for _, k := range m.flight {
		count(k)
	}
	return s
}

// Close implements outbox.Queue. What is queued is forgotten.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.changed)
	}
	return nil
}
