package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iotagent/hubsim"
)

// feeder hands numbered lines to `iotagent send` and keeps account of what was confirmed.
type feeder struct {
	b *box

	mu        sync.Mutex
	confirmed []sentLine // in the order of the confirmations
}

type sentLine struct{ id, body string }

func (f *feeder) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.confirmed)
}

// feed sends lines of a lane until all are confirmed. Lines that were not, because the daemon died, are sent again as new messages.
func (f *feeder) feed(lines, chunk int) error {
	for next := 0; next < lines; {
		var in strings.Builder
		for i := next; i < min(next+chunk, lines); i++ {
			fmt.Fprintf(&in, "line %d\n", i)
		}
		p := f.b.iotagent(strings.NewReader(in.String()), "send", "--lines", "--json")
		select {
		case <-p.ended:
		case <-time.After(patience):
			return fmt.Errorf("send does not end")
		}
		n, err := f.confirm(p, next)
		if err != nil {
			return err
		}
		if p.status() == 0 && n != min(chunk, lines-next) {
			return fmt.Errorf("status 0 with %d lines confirmed", n)
		}
		next += n
	}
	return nil
}

func (f *feeder) confirm(p *process, next int) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for line := range strings.Lines(p.out.String()) {
		var m struct {
			ID string `json:"message_id"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			return n, fmt.Errorf("%q: %w", line, err)
		}
		f.confirmed = append(f.confirmed, sentLine{m.ID, fmt.Sprintf("line %d", next+n)})
		n++
	}
	return n, nil
}

// Everything that send confirmed reaches the hub, in order, once or under the same id, while the daemon is killed and connections drop.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	const lines, kills = 2000, 5
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{blocks: simulated("boiler", `lane = "bulk"`)})
	f := &feeder{b: b}
	fed := make(chan error, 1)
	d := b.run()
	go func() {
		defer close(fed) // also when a program cannot be started, which ends this goroutine and fails the test
		fed <- f.feed(lines, 100)
	}()
	for i := range kills {
		mark := (i + 1) * lines / (kills + 1)
		await(t, "lines confirmed", func() bool { return f.count() >= mark })
		h.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Outcome: hubsim.Lose} })
		before := h.Accepted()
		h.until("messages whose acknowledgement is lost", func() bool { return h.Accepted() >= before+10 })
		h.DropConnections()
		h.OnTelemetry(nil)
		h.until("the next connection", func() bool { return h.Accepted() >= before+20 })
		d.kill()
		d = restart(b)
	}
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	b.becomes("an empty queue", func(s status) bool { return s.Link.State == "online" && s.queued() < 5 })
	d.stop()
	b.do(0, "", "run", "--until-drained")
	checkLines(t, h, f.confirmed)
	if len(h.Events()) == len(h.messages()) {
		t.Error("nothing arrived twice, so lost acknowledgements were not tested")
	}
	h.wholeBut(kills)
}

// restart starts the daemon as a service manager does: again when a send that works beside it holds the outbox.
func restart(b *box) *process {
	for {
		d := b.run()
		await(b.t, "the daemon to run", func() bool { return d.hasEnded() || strings.Contains(d.log.String(), "msg=running") })
		if !d.hasEnded() {
			return d
		}
		d.mentions("another iotagent works in")
	}
}

func checkLines(t *testing.T, h *hub, confirmed []sentLine) {
	t.Helper()
	place := map[string]int{}
	all := h.messages()
	for i, m := range all {
		place[m.id] = i
	}
	last := -1
	for _, l := range confirmed {
		i, there := place[l.id]
		switch {
		case !there:
			t.Errorf("%s (%s) was confirmed and did not arrive", l.id, l.body)
		case all[i].body != l.body:
			t.Errorf("%s holds %q, sent was %q", l.id, all[i].body, l.body)
		case i < last:
			t.Errorf("%s (%s) arrived before what was confirmed earlier", l.id, l.body)
		default:
			last = i
		}
	}
	if len(slices.Compact(slices.Sorted(func(yield func(string) bool) {
		for _, l := range confirmed {
			if !yield(l.body) {
				return
			}
		}
	}))) != len(confirmed) {
		t.Error("a line was confirmed twice")
	}
}
