package sensors

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// aggregator makes one reading of those of a window. Values that are out of range or stale are taken in like others, and the one reading says so.
type aggregator struct {
	funcs []string // the first is what Reading.Samples are of

	key    int64 // of the open window
	first  Reading
	last   time.Duration // since boot
	count  int
	failed int
	why    Reading   // the latest failed one
	kind   condition // of why
	doubts int       // readings with values that are not good
	worst  Reading
	stats  []stat
}

// stat is one quantity over a window.
type stat struct {
	name                 string
	n                    float64
	mean, low, high, end float64
}

func newAggregator(funcs []string) *aggregator {
	if len(funcs) == 0 {
		funcs = defaultAggregate()
	}
	funcs = slices.DeleteFunc(slices.Clone(funcs), func(f string) bool { return f == "count" }) // it is told always
	return &aggregator{funcs: funcs}
}

func (a *aggregator) empty() bool { return a.count+a.failed == 0 }

// add takes a reading into the window of that key, which must be the open one unless that is empty.
func (a *aggregator) add(r *Reading, kind condition, key int64) {
	if a.empty() {
		a.key, a.first = key, *r
	}
	a.last = r.At.Mono
	if len(r.Samples) == 0 {
		a.failed++
		a.why, a.kind = *r, kind
		return
	}
	a.count++
	if r.Quality != Good {
		a.doubts++
		if a.worst.Quality != OutOfRange || r.Quality == OutOfRange {
			a.worst = *r
		}
	}
	for i := range r.Samples {
		a.stat(i, r.Samples[i].Name).add(r.Samples[i].Value)
	}
}

// stat finds a quantity, most likely at i.
func (a *aggregator) stat(i int, name string) *stat {
	if i >= len(a.stats) || a.stats[i].name != name {
		i = slices.IndexFunc(a.stats, func(s stat) bool { return s.name == name })
	}
	if i < 0 {
		i = len(a.stats)
		a.stats = append(a.stats, stat{name: name, low: math.Inf(1), high: math.Inf(-1)})
	}
	return &a.stats[i]
}

func (s *stat) add(v float64) {
	s.n++
	s.mean = s.mean*(1-1/s.n) + v/s.n // neither can overflow
	s.low, s.high, s.end = min(s.low, v), max(s.high, v), v
}

// of returns one function of the values.
func (s *stat) of(name string) float64 {
	switch name {
	case "min":
		return s.low
	case "max":
		return s.high
	case "last":
		return s.end
	}
	const digits = 12 // more than any sensor resolves, and without the noise of the arithmetic
	mean, err := strconv.ParseFloat(strconv.FormatFloat(s.mean, 'g', digits, 64), 64)
	if err != nil {
		mean = s.mean
	}
	return min(max(mean, s.low), s.high)
}

// close returns the reading of the open window, which must not be empty, with the condition it tells, and opens the next.
func (a *aggregator) close() (Reading, condition) {
	r, kind := a.first, conditionOf(nil)
	r.Window = &Window{Span: max(a.last-a.first.At.Mono, 0), Count: a.count, Failed: a.failed, Func: a.funcs[0]}
	r.Samples, r.Quality, r.Reason = nil, Good, ""
	switch {
	case a.count == 0:
		r.Quality, r.Reason, kind = a.why.Quality, a.why.Reason, a.kind
	case a.doubts > 0:
		r.Quality, r.Reason = a.worst.Quality, a.worst.Reason
		if a.doubts < a.count {
			r.Reason = fmt.Sprintf("%d of %d readings: %s", a.doubts, a.count, r.Reason)
		}
	}
	if a.count > 0 {
		r.Samples = a.column(a.funcs[0])
		for _, f := range a.funcs[1:] {
			r.Window.More = append(r.Window.More, Column{f, a.column(f)})
		}
	}
	*a = aggregator{funcs: a.funcs, stats: a.stats[:0]}
	return r, kind
}

func (a *aggregator) column(f string) []Sample {
	samples := make([]Sample, len(a.stats))
	for i := range a.stats {
		samples[i] = Sample{a.stats[i].name, a.stats[i].of(f)}
	}
	return samples
}
