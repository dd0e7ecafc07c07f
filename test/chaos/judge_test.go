package chaos

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// event is one line of what hubsim accepted.
type event struct {
	MessageID   string            `json:"message_id"`
	ContentType string            `json:"content_type"`
	Properties  map[string]string `json:"properties"`
	Body        string            `json:"body"`
	Base64      string            `json:"body_base64"`
}

// slack is by how much the judge may be late in seeing what the hub took.
const slack = 2 * time.Second

// judge holds what arrives at the hub against what was promised.
type judge struct {
	mu       sync.Mutex
	first    map[string]arrival // by message-id
	streams  map[string]*stream // by epoch and lane
	lines    map[string]string  // what `iotagent send` confirmed: message-id to body
	bodies   map[string]string  // bodies of lines that arrived, to message-id
	spans    []*span
	gaps     []gap
	killed   map[string]bool // epochs of processes that were killed
	blind    int             // kills whose epoch nobody knows
	sealed   map[string]uint64
	problems []string

	fresh     int
	freshAt   time.Time // of the last first arrival
	again     int
	liveFirst bool // only alarms keep their order
}

// arrival is the first time that a message came.
type arrival struct {
	at  time.Time
	sum [sha256.Size]byte
}

// stream is one lane of one epoch.
type stream struct {
	seqs  map[uint64]bool
	peaks []peak // each first arrival that went beyond all before it
}

type peak struct {
	seq uint64
	at  time.Time
}

// span is the time of one trouble, from its beginning until all is well again.
type span struct {
	name           string
	from, to       time.Time // to is zero while it lasts
	repeats, gives bool
	expires, fatal bool
	again          int
}

type gap struct {
	Epoch, Lane, Reason string
	From, To            uint64
}

func newJudge() *judge {
	return &judge{
		first: map[string]arrival{}, streams: map[string]*stream{}, lines: map[string]string{}, bodies: map[string]string{},
		killed: map[string]bool{}, sealed: map[string]uint64{},
	}
}

func (j *judge) problem(format string, args ...any) {
	j.problems = append(j.problems, fmt.Sprintf(format, args...))
}

// note adds a problem that somebody else found.
func (j *judge) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.problem(format, args...)
}

// begin opens the span of a trouble.
func (j *judge) begin(at time.Time, k *trouble, second *trouble) *span {
	s := &span{name: k.name, from: at, repeats: k.repeats, gives: k.gives, expires: k.expires, fatal: k.fatal}
	if second != nil {
		s.repeats, s.gives = s.repeats || second.repeats, s.gives || second.gives
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spans = append(j.spans, s)
	return s
}

// end closes it, and returns how many messages came again because of it.
func (j *judge) end(s *span, at time.Time) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	s.to = at
	return s.again
}

// excuse finds a span that fits and touches the time between.
func (j *judge) excuse(from, to time.Time, fits func(*span) bool) *span {
	for _, s := range slices.Backward(j.spans) {
		if fits(s) && !s.from.After(to.Add(slack)) && (s.to.IsZero() || !s.to.Add(slack).Before(from)) {
			return s
		}
	}
	return nil
}

// confirm notes a line that `iotagent send` said is safe.
func (j *judge) confirm(id, body string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if old, twice := j.lines[id]; twice {
		j.problem("%s was given to two lines, %q and %q", id, old, body)
	}
	j.lines[id] = body
}

// kill notes that the process of an epoch was killed; "" when nobody knows which.
func (j *judge) kill(epoch string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if epoch == "" {
		j.blind++
		return
	}
	j.killed[epoch] = true
}

// stopped notes that a process is going to be stopped in order: whatever it had put by then, up to a number for each lane, has to arrive.
func (j *judge) stopped(epoch string, put map[string]uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for lane, n := range put {
		j.sealed[epoch+" "+lane] = n
	}
}

// arrive judges one message.
func (j *judge) arrive(at time.Time, e *event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	sum := sumOf(e)
	if old, again := j.first[e.MessageID]; again {
		j.repeated(at, e, old, sum)
		return
	}
	j.first[e.MessageID] = arrival{at, sum}
	j.fresh++
	j.freshAt = at
	name, seq, err := streamOf(e)
	if err != nil {
		j.problem("%v", err)
		return
	}
	j.ordered(at, e.MessageID, name, seq)
	switch kind := e.Properties["kind"]; {
	case kind == "gap":
		j.gap(e)
	case kind == "command-result":
	case strings.HasPrefix(e.Body, linePrefix):
		if other, twice := j.bodies[e.Body]; twice {
			j.problem("%q came as %s and as %s", e.Body, other, e.MessageID)
		}
		j.bodies[e.Body] = e.MessageID
	}
}

func (j *judge) repeated(at time.Time, e *event, old arrival, sum [sha256.Size]byte) {
	j.again++
	if old.sum != sum {
		j.problem("%s came with two contents, now %q", e.MessageID, e.Body)
	}
	s := j.excuse(old.at, at, func(s *span) bool { return s.repeats })
	if s == nil {
		j.problem("%s came twice, at %s and %s, and nothing was lost in between%s", e.MessageID, clock(old.at), clock(at), j.during(at))
		return
	}
	s.again++
}

// ordered checks that a first arrival comes after those that were put before it.
func (j *judge) ordered(at time.Time, id, name string, seq uint64) {
	s := j.streams[name]
	if s == nil {
		s = &stream{seqs: map[uint64]bool{}}
		j.streams[name] = s
	}
	s.seqs[seq] = true
	if n := len(s.peaks); n == 0 || s.peaks[n-1].seq < seq {
		s.peaks = append(s.peaks, peak{seq, at})
		return
	}
	passed := s.peaks[sort.Search(len(s.peaks), func(i int) bool { return s.peaks[i].seq > seq })]
	if j.liveFirst && !strings.HasSuffix(name, " alarm") {
		return
	}
	if j.excuse(passed.at, at, func(s *span) bool { return s.gives }) == nil {
		j.problem("%s came at %s, after %d of the same lane at %s%s", id, clock(at), passed.seq, clock(passed.at), j.during(at))
	}
}

func (j *judge) during(at time.Time) string {
	if s := j.excuse(at, at, func(*span) bool { return true }); s != nil {
		return " (in the time of: " + s.name + ")"
	}
	return ""
}

func (j *judge) gap(e *event) {
	var body struct{ Gap gap }
	if err := json.Unmarshal([]byte(e.Body), &body); err != nil {
		j.problem("%s: %v", e.MessageID, err)
		return
	}
	j.gaps = append(j.gaps, body.Gap)
}

// expired reports whether what the hub took at that time may have become too old for it.
func (j *judge) expired(at time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.excuse(at, at, func(s *span) bool { return s.expires }) != nil
}

// freshSince reports whether a message came for the first time after that.
func (j *judge) freshSince(t time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.freshAt.After(t)
}

// counts returns the numbers of first arrivals and of repetitions.
func (j *judge) counts() (fresh, again int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fresh, j.again
}

// finish judges what can be judged only when all is over; dead are the ids in the dead letters. It returns every problem of the run.
func (j *judge) finish(dead []string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, id := range sortedKeys(j.lines) {
		_, came := j.first[id]
		switch {
		case !came && !slices.Contains(dead, id):
			j.problem("%s (%q) was confirmed and did not arrive", id, j.lines[id])
		case came && j.bodies[j.lines[id]] != id:
			j.problem("%s does not hold %q", id, j.lines[id])
		}
	}
	if len(dead) > 0 && !slices.ContainsFunc(j.spans, func(s *span) bool { return s.fatal }) {
		j.problem("%d messages lie in the dead letters, and the hub refused none for good, the first is %s", len(dead), dead[0])
	}
	excused := j.declared()
	for _, name := range sortedKeys(j.streams) {
		j.whole(name, excused[name], dead)
	}
	for _, name := range sortedKeys(j.sealed) {
		s, epoch := j.streams[name], strings.Fields(name)[0]
		if n := j.sealed[name]; n > 0 && !j.killed[epoch] && (s == nil || s.peaks[len(s.peaks)-1].seq < n) {
			j.problem("%s: %d messages were put before the stop, the last one did not arrive", name, n)
		}
	}
	return j.problems
}

// declared returns the gaps by stream, and finds fault with those that no trouble explains.
func (j *judge) declared() map[string][]gap {
	excused, blind := map[string][]gap{}, map[string]bool{}
	for _, g := range j.gaps {
		switch {
		case g.Reason != "unclean-stop":
			j.problem("a gap for no reason known here: %+v", g)
		case g.Lane == "alarm" || g.From == 0:
			j.problem("a gap that cannot be: %+v", g)
		case !j.killed[g.Epoch]:
			if blind[g.Epoch] = true; len(blind) > j.blind {
				j.problem("a gap of a process that was not killed: %+v", g)
			}
		}
		name := g.Epoch + " " + g.Lane
		excused[name] = append(excused[name], g)
	}
	return excused
}

// whole finds the holes of a stream that nothing excuses.
func (j *judge) whole(name string, excused []gap, dead []string) {
	s := j.streams[name]
	last := s.peaks[len(s.peaks)-1].seq
	missing, from := 0, uint64(0)
	for seq := uint64(1); seq <= last; seq++ {
		covered := func(g gap) bool { return seq >= g.From && (g.To == 0 || seq <= g.To) }
		if s.seqs[seq] || slices.ContainsFunc(excused, covered) || slices.Contains(dead, strings.ReplaceAll(name, " ", "-")+"-"+strconv.FormatUint(seq, 10)) {
			continue
		}
		if missing++; from == 0 {
			from = seq
		}
	}
	if missing > 0 {
		j.problem("%s: %d of %d messages are missing and not declared, the first is %d", name, missing, last, from)
	}
}

// streamOf reads who sent a message and as which one.
func streamOf(e *event) (name string, seq uint64, err error) {
	epoch, lane := e.Properties["epoch"], e.Properties["lane"]
	seq, err = strconv.ParseUint(e.Properties["seq"], 10, 64)
	if want := fmt.Sprintf("%s-%s-%d", epoch, lane, seq); err != nil || seq == 0 || e.MessageID != want {
		return "", 0, fmt.Errorf("%q has properties of %q", e.MessageID, want)
	}
	return epoch + " " + lane, seq, nil
}

// sumOf is over all that must stay the same when a message comes again.
func sumOf(e *event) [sha256.Size]byte {
	text, _ := json.Marshal([]any{e.ContentType, e.Properties, e.Body, e.Base64}) // strings always marshal, maps in order
	return sha256.Sum256(text)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
