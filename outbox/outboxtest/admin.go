package outboxtest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"iotagent/outbox"
)

var _ outbox.Admin = (*Memory)(nil)

// Damage makes Check report these files, and Repair replace those with a problem. Until then there is one sound file, named "memory".
func (m *Memory) Damage(files ...outbox.FileReport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files = slices.Clone(files)
}

// Scan implements outbox.Admin: it shows what was queued when it was called. Durable messages are shown as on disk, others as in memory.
func (m *Memory) Scan(ctx context.Context, o outbox.ScanOptions, fn func(outbox.Item) error) error {
	items, err := m.items(o)
	if err != nil {
		return err
	}
	for _, it := range items {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := fn(it); err != nil {
			return err
		}
	}
	return nil
}

func (m *Memory) items(o outbox.ScanOptions) ([]outbox.Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.errLocked(); err != nil {
		return nil, err
	}
	var items []outbox.Item
	add := func(k *kept, inFlight bool) {
		if !among(o.Lanes, k.entry.ID.Lane) {
			return
		}
		it := outbox.Item{
			Entry: k.entry, Size: len(k.entry.Body), Put: k.at.Truncate(time.Millisecond), Durable: k.durable,
			InFlight: inFlight, OnDisk: k.durable,
		}
		it.Body = nil
		if o.Bodies {
			it.Body = slices.Clone(k.entry.Body)
		}
		items = append(items, it)
	}
	for lane := range m.queue {
		for _, k := range m.queue[lane] {
			add(k, false)
		}
	}
	for _, k := range m.flight {
		add(k, true)
	}
	slices.SortFunc(items, func(a, b outbox.Item) int {
		return cmp.Or(cmp.Compare(a.ID.Lane, b.ID.Lane), cmp.Compare(a.ID.Seq, b.ID.Seq))
	})
	return items, nil
}

func among(lanes []outbox.Lane, l outbox.Lane) bool { return lanes == nil || slices.Contains(lanes, l) }

// Purge implements outbox.Admin. Each run of messages becomes one gap, which takes the id of the run's last.
func (m *Memory) Purge(ctx context.Context, lanes []outbox.Lane, before time.Time) (outbox.Purged, error) {
	var sum outbox.Purged
	if err := context.Cause(ctx); err != nil {
		return sum, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.errLocked(); err != nil {
		return sum, err
	}
	for lane := range m.queue {
		if !among(lanes, outbox.Lane(lane)) {
			continue
		}
		p := purge(m.queue[lane], before)
		m.queue[lane] = p.left
		sum.Messages += p.sum.Messages
		sum.Readings += p.sum.Readings
	}
	if sum.Messages > 0 {
		m.signalLocked()
	}
	return sum, nil
}

// purging is one lane while it is purged.
type purging struct {
	left []*kept
	run  *outbox.Gap // the newest in left, when the message before was purged
	sum  outbox.Purged
}

func purge(queue []*kept, before time.Time) purging {
	var p purging
	for _, k := range queue {
		if k.entry.Gap != nil || !before.IsZero() && !k.at.Before(before) {
			p.left, p.run = append(p.left, k), nil
			continue
		}
		p.drop(k)
	}
	return p
}

func (p *purging) drop(k *kept) {
	id := k.entry.ID
	if p.run == nil || p.run.To+1 != k.entry.First {
		p.run = &outbox.Gap{Epoch: id.Epoch, Lane: id.Lane, From: k.entry.First, Reason: "purged"}
		p.left = append(p.left, nil)
	}
	p.run.To = id.Seq
	p.run.Messages++
	p.run.Readings += uint64(k.entry.Readings)
	p.sum.Messages++
	p.sum.Readings += uint64(k.entry.Readings)
	p.left[len(p.left)-1] = &kept{entry: outbox.Entry{ID: id, First: id.Seq, Gap: p.run}, at: k.at, durable: true}
}

// PurgeDead implements outbox.Admin.
func (m *Memory) PurgeDead(ctx context.Context) (uint64, error) {
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.errLocked(); err != nil {
		return 0, err
	}
	n := uint64(len(m.dead))
	m.dead = nil
	return n, nil
}

// Check implements outbox.Admin.
func (m *Memory) Check(ctx context.Context) (outbox.Report, error) {
	if err := context.Cause(ctx); err != nil {
		return outbox.Report{}, err
	}
	n := uint64(0)
	for _, q := range m.Stats().Queued {
		n += q
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.errLocked(); err != nil {
		return outbox.Report{}, err
	}
	if m.files == nil {
		return outbox.Report{Files: []outbox.FileReport{{Name: "memory", Messages: n}}}, nil
	}
	return outbox.Report{Files: slices.Clone(m.files)}, nil
}

// Repair implements outbox.Admin. After it Check finds every file sound.
func (m *Memory) Repair(ctx context.Context) (outbox.Report, error) {
	r, err := m.Check(ctx)
	if err != nil {
		return r, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files = slices.Clone(r.Files)
	for i, f := range r.Files {
		r.Files[i].Repaired = f.Problem != ""
		m.files[i].Problem, m.files[i].Lost, m.files[i].AtMost = "", 0, false
	}
	return r, nil
}
