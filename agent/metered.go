package agent

import (
	"log/slog"
	"sync"
	"time"

	"iotagent/internal/clock"
)

// meterUnit is what one metered message holds at most (Microsoft, "Understand IoT Hub pricing": 4 KB of a paid hub). A larger message counts as several.
const meterUnit = 4096

// Metering is what the accepted telemetry of one day costs of the hub's daily quota. Days begin at 00:00 UTC, as the hub's do.
type Metering struct {
	// Day is like "2026-11-22"; empty while nobody knows what day it is.
	Day string `json:"day,omitempty"`
	// Messages and Bytes were accepted; the hub meters them as Metered messages of at most 4 KiB. The messages inside a batch count one by one.
	Messages uint64 `json:"messages"`
	Metered  uint64 `json:"metered"`
	Bytes    uint64 `json:"bytes"`
	// SinceStart says that the count began at a start later than the day, AtLeast that a part of the day was not counted: the process was killed, or the
	// clock was set.
	SinceStart bool `json:"since_start,omitempty"`
	AtLeast    bool `json:"at_least,omitempty"`
}

// Fill is how full the metered messages are, 0 to 1; 0 when there is none.
func (m *Metering) Fill() float64 {
	if m.Metered == 0 {
		return 0
	}
	return float64(m.Bytes) / float64(m.Metered*meterUnit)
}

// count adds one accepted message.
func (m *Metering) count(size int) {
	n := uint64(max(size, 1))
	m.Messages++
	m.Metered += (n + meterUnit - 1) / meterUnit
	m.Bytes += n
}

// merge adds what an earlier process counted of the same day.
func (m *Metering) merge(earlier *Metering) {
	m.Messages += earlier.Messages
	m.Metered += earlier.Metered
	m.Bytes += earlier.Bytes
	m.SinceStart, m.AtLeast = earlier.SinceStart, m.AtLeast || earlier.AtLeast
}

// metered counts what the hub accepts, for today and since the start. Its methods may be called from any goroutine.
type metered struct {
	clock *clock.Clock
	log   *slog.Logger
	path  string // "" keeps nothing over a restart

	mu    sync.Mutex
	today Metering
	total Metering // since the start
	// looked is when the wall clock was last looked at; seen is what it said when it was last believed.
	looked time.Time
	seen   clock.Stamp
	// kept is what an earlier process left, until it is known whether it is of today; nil when there is nothing.
	kept *meterFile
	// saved is what the file says.
	saved meterFile
}

func newMetered(c *clock.Clock, path string, log *slog.Logger) *metered {
	m := &metered{clock: c, path: path, log: log, today: Metering{SinceStart: true}}
	m.load()
	return m
}

// add counts messages that the hub accepted, by their Size; those of a batch like any other.
func (m *metered) add(sizes ...int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.looked) >= time.Second { // to ask for each message what day it is costs more than to count it
		m.rollLocked()
	}
	for _, size := range sizes {
		m.today.count(size)
		m.total.count(size)
	}
}

// now returns today's count, and what was counted since the start.
func (m *metered) now() (today, total Metering) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rollLocked()
	return m.today, m.total
}

// clockStep is by how much the wall clock may differ from the time that went by before it counts as set: a day of the worst drift that is slewed.
const clockStep = time.Minute

// rollLocked begins a new day when the wall clock says so. While it is wrong the day goes on.
func (m *metered) rollLocked() {
	m.looked = time.Now()
	now := m.clock.Stamp()
	if !now.Plausible() {
		return
	}
	before := m.seen
	m.seen = now
	day := now.Wall.Format(time.DateOnly)
	switch m.today.Day {
	case day:
	case "": // the first time that anybody knows what day it is
		m.today.Day = day
		m.adoptLocked()
	default:
		step := now.Wall.Sub(before.Wall) - (now.Mono - before.Mono)
		m.today = Metering{Day: day, AtLeast: step.Abs() > clockStep}
	}
}

// adoptLocked goes on where an earlier process stopped.
func (m *metered) adoptLocked() {
	k := m.kept
	m.kept = nil
	switch {
	case k == nil: // nobody counted before: since the start
	case k.Day == m.today.Day:
		m.today.merge(&k.Metering)
		m.today.AtLeast = m.today.AtLeast || !k.Clean
	default: // of another day: today begins with this process, unless that one was still there after midnight
		m.today.SinceStart, m.today.AtLeast = false, !k.Clean
	}
}
