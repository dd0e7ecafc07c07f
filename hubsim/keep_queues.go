package hubsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// compactAt is how many lines a journal has at least before it is written anew, and times what is alive.
const (
	compactAt    = 2000
	compactTimes = 4
)

// queueLine is a line of the queues' journal, queues.jsonl. Queue is the identity whose commands it is about, "" for feedback.
type queueLine struct {
	// Op is put (a message comes), back (it came back), end (it left), last (the last number given), record (feedback to be sent) or
	// sent (it was).
	Op         string          `json:"op"`
	Queue      string          `json:"queue,omitempty"`
	Generation string          `json:"generation,omitempty"` // of the identity
	Sequence   uint64          `json:"sequence,omitempty"`
	Enqueued   *time.Time      `json:"enqueued,omitempty"`
	Expires    *time.Time      `json:"expires,omitempty"`
	Deliveries int             `json:"deliveries,omitempty"`
	Ack        string          `json:"ack,omitempty"`
	Message    []byte          `json:"message,omitempty"`
	Record     *FeedbackRecord `json:"record,omitempty"`
}

// journal is the file, and lines that are not in it yet.
type journal struct {
	file *appendFile
	buf  bytes.Buffer
	new  int // lines in buf
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.close()
}

func (s *Server) openQueues(k *keeper) error {
	err := readLines(s.statePath("queues.jsonl"), func(line []byte) error {
		var l queueLine
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		return s.replay(&l)
	})
	if err != nil {
		return err
	}
	if err := s.compact(k); err != nil {
		return err
	}
	s.resumeQueues()
	return nil
}

// replay applies a line of the journal. What belongs to an identity that is gone is left out.
func (s *Server) replay(l *queueLine) error {
	f := s.feedback
	switch l.Op {
	case "record":
		if l.Record != nil {
			f.pending = append(f.pending, *l.Record)
		}
		return nil
	case "sent":
		f.pending = nil
		return nil
	}
	q := f.queue
	if l.Queue != "" {
		d := s.devices[l.Queue]
		if d == nil || d.generation != l.Generation {
			return nil
		}
		q = d.commands
	}
	i := slices.IndexFunc(q.items, func(it *item) bool { return it.seq == l.Sequence })
	switch l.Op {
	case "put":
		m, err := decodeMessage(l.Message)
		if err != nil || l.Enqueued == nil || l.Expires == nil {
			return errors.Join(errors.New("message"), err)
		}
		q.last = max(q.last, l.Sequence)
		q.items = append(q.items, &item{seq: l.Sequence, msg: m, enqueued: *l.Enqueued, expires: *l.Expires, deliveries: l.Deliveries, ack: l.Ack})
	case "back":
		if i >= 0 {
			q.items[i].deliveries = l.Deliveries
		}
	case "end":
		if i >= 0 {
			q.items = slices.Delete(q.items, i, i+1)
		}
	case "last":
		q.last = max(q.last, l.Sequence)
	default:
		return fmt.Errorf("op %q", l.Op)
	}
	return nil
}

// resumeQueues starts the clocks of what was read. Nothing is locked: who had a message will get it again.
func (s *Server) resumeQueues() {
	s.feedback.queue.resume()
	for _, d := range s.devices {
		d.commands.resume()
	}
	if len(s.feedback.pending) > 0 {
		s.feedback.startTimer()
	}
}

// compact writes the journal anew with what is alive.
func (s *Server) compact(k *keeper) error {
	j := &journal{}
	s.snapshot(j)
	path := s.statePath("queues.jsonl")
	if err := writeFile(path, j.buf.Bytes()); err != nil {
		return err
	}
	file, err := openAppend(path, j.new)
	if err != nil {
		return err
	}
	old := k.queues
	k.queues = &journal{file: file}
	return old.close()
}

func (s *Server) snapshot(j *journal) {
	all := []*queue{s.feedback.queue}
	for _, d := range s.devices {
		all = append(all, d.commands)
	}
	for _, q := range all {
		if q.last > 0 {
			j.add(q.line("last", &item{seq: q.last}))
		}
		for _, it := range q.items {
			j.add(q.line("put", it))
		}
	}
	for i := range s.feedback.pending {
		j.add(&queueLine{Op: "record", Record: &s.feedback.pending[i]})
	}
}

// line describes what happens to a message of the queue.
func (q *queue) line(op string, it *item) *queueLine {
	l := &queueLine{Op: op, Queue: q.keptAs, Generation: q.generation, Sequence: it.seq, Deliveries: it.deliveries}
	if op == "put" {
		payload, err := encodeMessage(it.msg)
		if err != nil { // was encoded before it was taken
			payload = nil
		}
		l.Message, l.Ack, l.Enqueued, l.Expires = payload, it.ack, &it.enqueued, &it.expires
	}
	return l
}

func (j *journal) add(l *queueLine) {
	if err := encodeLine(&j.buf, l); err == nil { // cannot fail: strings, numbers and times
		j.new++
	}
}

// noteQueue takes a line in; it is in the file after flushQueues, so that lines that belong together come there together.
func (s *Server) noteQueue(l *queueLine) {
	if s.keep != nil && !s.keep.failed(nil) {
		s.keep.queues.add(l)
	}
}

func (s *Server) flushQueues() {
	k := s.keep
	if k == nil || k.failed(nil) || k.queues.new == 0 {
		return
	}
	j := k.queues
	_, err := j.file.f.Write(j.buf.Bytes())
	j.file.lines += j.new
	j.buf.Reset()
	j.new = 0
	if k.failed(err) || j.file.lines < compactAt {
		return
	}
	alive := len(s.feedback.queue.items) + len(s.feedback.pending)
	for _, d := range s.devices {
		alive += len(d.commands.items) + 1
	}
	if j.file.lines > compactTimes*alive {
		k.failed(s.compact(k))
	}
}
