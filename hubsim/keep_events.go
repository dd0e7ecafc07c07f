package hubsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/go-amqp"
)

// keptEvent is a line of an event file.
type keptEvent struct {
	Nth      int64     `json:"nth"`
	Sequence int64     `json:"sequence"`
	Offset   int64     `json:"offset"`
	Next     int64     `json:"next"` // offset of the next event
	Device   string    `json:"device"`
	Enqueued time.Time `json:"enqueued"`
	Message  []byte    `json:"message"` // as services get it
}

// eventFiles are the files of one partition, events/PARTITION-SEQUENCE.jsonl, named after the first event in each. A full one is followed by
// another; one that retention has left behind is removed, so that nothing is ever rewritten.
type eventFiles struct {
	dir       string
	partition int
	keep      int     // events that the partition keeps
	first     []int64 // sequence numbers of the files, in order
	last      *appendFile
	buf       bytes.Buffer
}

func (s *Server) openEvents(k *keeper) error {
	dir := s.statePath("events")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	for n, p := range s.partitions {
		e := &eventFiles{dir: dir, partition: n, keep: s.opts.Retention}
		k.events = append(k.events, e)
		for _, name := range names {
			prefix, rest, _ := strings.Cut(strings.TrimSuffix(name.Name(), ".jsonl"), "-")
			first, err := strconv.ParseInt(rest, 10, 64)
			if prefix == strconv.Itoa(n) && err == nil {
				e.first = append(e.first, first)
			}
		}
		slices.Sort(e.first)
		if err := e.load(p); err != nil {
			return err
		}
		if len(p.events) > 0 {
			s.accepted = max(s.accepted, p.events[len(p.events)-1].nth)
		}
	}
	return nil
}

func (e *eventFiles) path(first int64) string {
	return filepath.Join(e.dir, fmt.Sprintf("%d-%d.jsonl", e.partition, first))
}

// load fills a partition from its files.
func (e *eventFiles) load(p *partition) error {
	lines := 0
	for _, first := range e.first {
		lines = 0
		err := readLines(e.path(first), func(line []byte) error {
			var kept keptEvent
			if err := json.Unmarshal(line, &kept); err != nil {
				return err
			}
			m, err := decodeMessage(kept.Message)
			if err != nil {
				return err
			}
			p.next, p.bytes = kept.Sequence, kept.Offset
			p.append(kept.event(m), 0, e.keep)
			p.events[len(p.events)-1].stamp(e.partition)
			p.bytes = kept.Next
			lines++
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(e.first) == 0 {
		return nil
	}
	var err error
	e.last, err = openAppend(e.path(e.first[len(e.first)-1]), lines)
	return err
}

func (kept *keptEvent) event(m *amqp.Message) *Event {
	event := &Event{
		Device: kept.Device, Enqueued: EventTime{kept.Enqueued}, nth: kept.Nth,
		Properties: map[string]string{}, Annotations: map[string]any{}, message: m,
	}
	if m.Annotations == nil {
		m.Annotations = amqp.Annotations{}
	}
	event.describe()
	return event
}

// event writes an event down.
func (k *keeper) event(e *Event, next int64) {
	if k == nil || k.failed(nil) {
		return
	}
	k.failed(k.events[e.Partition].append(e, next))
}

func (e *eventFiles) append(event *Event, next int64) error {
	payload, err := encodeMessage(event.message)
	if err != nil {
		return err
	}
	if e.last == nil || e.last.lines >= e.keep {
		if err := e.rotate(event.Sequence); err != nil {
			return err
		}
	}
	e.buf.Reset()
	err = encodeLine(&e.buf, &keptEvent{
		Nth: event.nth, Sequence: event.Sequence, Offset: event.offset, Next: next,
		Device: event.Device, Enqueued: event.Enqueued.Time, Message: payload,
	})
	if err != nil {
		return err
	}
	if _, err := e.last.f.Write(e.buf.Bytes()); err != nil {
		return err
	}
	e.last.lines++
	return nil
}

// rotate begins a file and removes those that hold nothing of what is kept.
func (e *eventFiles) rotate(first int64) error {
	if err := e.last.close(); err != nil {
		return err
	}
	next, err := openAppend(e.path(first), 0)
	if err != nil {
		return err
	}
	e.last = next
	if !slices.Contains(e.first, first) { // the last file may have lost its only line
		e.first = append(e.first, first)
	}
	for len(e.first) > 1 && e.first[1] <= first+1-int64(e.keep) {
		if err := os.Remove(e.path(e.first[0])); err != nil {
			return err
		}
		e.first = e.first[1:]
	}
	return nil
}

func (e *eventFiles) close() error { return e.last.close() }
