package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"iotagent/internal/clock"
	"iotagent/outbox"
)

// The ops of the control socket on the queue.
const (
	OpQueueList   = "queue-list"
	OpQueueCheck  = "queue-check"
	OpQueueRepair = "queue-repair"
	OpQueuePurge  = "queue-purge"
)

const (
	pageEntries = 256
	pageBytes   = 64 << 10
	// maxLetters is above what an outbox keeps.
	maxLetters = 10_000
)

var (
	errNotAvailable = errors.New("this outbox cannot be looked into: not available")
	errEnough       = errors.New("enough entries")
)

// AnswerQueue carries out a request whose Op is one of those on the queue and gives each answer to send: several for queue-list, all but
// the last with More, and one for the others. It ends with the error of send; what else goes wrong is in the last answer. It holds no
// more than one answer's entries in memory. A nil admin answers that it is not available.
//
// Messages are shown as they would be sent now, with the times that known tells; nil knows none.
func AnswerQueue(ctx context.Context, admin outbox.Admin, known *clock.Anchors, req Request, send func(*Answer) error) error {
	lanes, err := parseLanes(req.Lanes)
	switch {
	case !slices.Contains([]string{OpQueueList, OpQueueCheck, OpQueueRepair, OpQueuePurge}, req.Op):
		return send(failed(fmt.Errorf("unknown op %q", req.Op)))
	case err != nil:
		return send(failed(err))
	case admin == nil:
		return send(failed(errNotAvailable))
	}
	o := &queueOp{admin: admin, req: &req, lanes: lanes, known: known}
	switch req.Op {
	case OpQueueList:
		p := &pages{send: send}
		return p.end(o.list(ctx, p))
	case OpQueueCheck:
		r, err := admin.Check(ctx)
		return send(answerReport(&r, err))
	case OpQueueRepair:
		r, err := admin.Repair(ctx)
		return send(answerReport(&r, err))
	}
	sum, err := o.purge(ctx)
	a := failed(err)
	a.Purged = sum
	return send(a)
}

// failed is the answer that says err, an empty one for nil.
func failed(err error) *Answer {
	if err == nil {
		return &Answer{}
	}
	return &Answer{Error: err.Error()}
}

func parseLanes(names []string) ([]outbox.Lane, error) {
	var lanes []outbox.Lane
	for _, name := range names {
		l, err := ParseLane(name)
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, l)
	}
	return lanes, nil
}

func answerReport(r *outbox.Report, err error) *Answer {
	if err != nil {
		return failed(err)
	}
	report := &QueueReport{Sound: true, Files: []QueueFile{}}
	for _, f := range r.Files {
		report.Sound = report.Sound && (f.Problem == "" || f.Repaired)
		report.Files = append(report.Files, QueueFile(f))
	}
	return &Answer{Report: report}
}

// queueOp is one request on the queue.
type queueOp struct {
	admin outbox.Admin
	req   *Request
	lanes []outbox.Lane // nil is all
	known *clock.Anchors
}

// list adds the entries asked for to p.
func (o *queueOp) list(ctx context.Context, p *pages) error {
	left := o.req.Limit
	if left <= 0 {
		left = math.MaxInt
	}
	add := func(e QueueEntry) error {
		if err := p.add(e); err != nil {
			return err
		}
		if left--; left == 0 {
			return errEnough
		}
		return nil
	}
	if o.req.Dead {
		return o.listDead(ctx, add)
	}
	return o.admin.Scan(ctx, outbox.ScanOptions{Lanes: o.lanes, Bodies: o.req.Bodies}, func(it outbox.Item) error {
		return add(o.queuedEntry(&it))
	})
}

func (o *queueOp) listDead(ctx context.Context, add func(QueueEntry) error) error {
	letters, err := o.admin.DeadLetters(maxLetters)
	if err != nil {
		return err
	}
	for i := range letters {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if !o.wants(letters[i].ID.Lane) {
			continue
		}
		if err := add(o.deadEntry(&letters[i])); err != nil {
			return err
		}
	}
	return nil
}

func (o *queueOp) wants(l outbox.Lane) bool {
	return o.lanes == nil || slices.Contains(o.lanes, l)
}

// purge throws away lane by lane, so that what was done before an error is known.
func (o *queueOp) purge(ctx context.Context) (*QueuePurged, error) {
	if o.req.Dead {
		return o.purgeDead(ctx)
	}
	var before time.Time
	if o.req.Before != nil {
		before = *o.req.Before
	}
	sum := &QueuePurged{}
	for _, l := range []outbox.Lane{outbox.Alarm, outbox.Normal, outbox.Bulk} {
		if !o.wants(l) {
			continue
		}
		purge := o.admin.Purge
		if o.req.DryRun {
			purge = o.count
		}
		p, err := purge(ctx, []outbox.Lane{l}, before)
		sum.Messages += p.Messages
		sum.Readings += p.Readings
		sum.Lanes = append(sum.Lanes, LanePurged{Lane: l.String(), Messages: p.Messages, Readings: p.Readings})
		if err != nil {
			return sum, fmt.Errorf("%s: %w", l, err)
		}
	}
	return sum, nil
}

// count counts what Purge would throw away now.
func (o *queueOp) count(ctx context.Context, lanes []outbox.Lane, before time.Time) (outbox.Purged, error) {
	var p outbox.Purged
	err := o.admin.Scan(ctx, outbox.ScanOptions{Lanes: lanes}, func(it outbox.Item) error {
		if it.Gap == nil && !it.InFlight && (before.IsZero() || it.Put.Before(before)) {
			p.Messages++
			p.Readings += uint64(max(it.Readings, 0))
		}
		return nil
	})
	return p, err
}

func (o *queueOp) purgeDead(ctx context.Context) (*QueuePurged, error) {
	if len(o.lanes) > 0 || o.req.Before != nil {
		return nil, errors.New("dead letters are purged all together: neither by lane nor by age")
	}
	if o.req.DryRun {
		letters, err := o.admin.DeadLetters(maxLetters)
		return &QueuePurged{DeadLetters: uint64(len(letters))}, err
	}
	n, err := o.admin.PurgeDead(ctx)
	return &QueuePurged{DeadLetters: n}, err
}

// pages collects entries into answers of a bounded size.
type pages struct {
	send    func(*Answer) error
	entries []QueueEntry
	bytes   int
	broken  error // of send
}

func (p *pages) add(e QueueEntry) error {
	if len(p.entries) == pageEntries || p.bytes >= pageBytes {
		if p.broken = p.send(&Answer{Entries: p.entries, More: true}); p.broken != nil {
			return p.broken
		}
		p.entries, p.bytes = nil, 0
	}
	p.entries = append(p.entries, e)
	p.bytes += 200 + len(e.Reason) // the rest of a line
	if e.Content != nil {
		p.bytes += e.Size
	}
	return nil
}

// end sends the last answer: what is left, and err unless it says that there are enough.
func (p *pages) end(err error) error {
	if p.broken != nil {
		return p.broken
	}
	a := &Answer{Entries: p.entries}
	if a.Entries == nil {
		a.Entries = []QueueEntry{}
	}
	if err != nil && !errors.Is(err, errEnough) {
		a.Error = "list the queue: " + err.Error()
	}
	return p.send(a)
}
