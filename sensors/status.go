package sensors

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Status is what a status page says about one sensor.
type Status struct {
	// Name, Type and Interval are as configured.
	Name, Type string
	Interval   time.Duration
	// Device names the device and where it is; "" until it was opened for the first time.
	Device string
	// Last is the latest reading, good or failed; its Quality is "" before the first.
	Last Reading
	// LastGood is the latest reading with values.
	LastGood Reading
	// LastError is the latest failed reading.
	LastError Reading
	// Readings counts all readings, Errors the failed ones among them.
	Readings, Errors uint64
	// Retries counts reads that were tried again within a reading, Alarms the alarms that were raised, ended or noticed, and Withheld the readings that
	// a deadband left out.
	Retries, Alarms, Withheld uint64
	// Latency is how long the latest reading took.
	Latency time.Duration
	// Warning says what is wrong with the configuration, as far as that shows only in a reading.
	Warning string
}

// Status returns a snapshot. The caller must not change the samples in it.
func (s *Sampler) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Sampler) setDevice(device string) {
	s.count(func(st *Status) { st.Device = device })
}

func (s *Sampler) count(f func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.status)
}

// looks is in how many readings a name is looked for: some drivers do not have every value at the first.
const looks = 3

// Unseen lists the names that calibration, limits and deadband have and no reading had yet. It is for the goroutine that called Once.
func (s *Sampler) Unseen() []string { return slices.Clone(s.unseen) }

// checkNames warns of what is configured for quantities that the sensor does not have.
func (s *Sampler) checkNames(samples []Sample) {
	s.unseen = slices.DeleteFunc(s.unseen, func(name string) bool { return find(samples, name) != nil })
	if s.looked++; s.looked != looks || len(s.unseen) == 0 {
		return
	}
	var known []string
	for _, v := range samples {
		known = append(known, v.Name)
	}
	text := fmt.Sprintf("calibration, limits or deadband name %s, which this sensor does not measure; it measures %s",
		strings.Join(s.unseen, ", "), strings.Join(known, ", "))
	s.unseen = nil
	s.count(func(st *Status) { st.Warning = text })
	s.notes.log.Warn("sensor configured in part", "error", text)
}

// record counts a reading and logs what it changes.
func (s *Sampler) record(r Reading, err error, took time.Duration) {
	s.mu.Lock()
	s.status.Last, s.status.Latency = r, took
	s.status.Readings++
	if len(r.Samples) > 0 {
		s.status.LastGood = r
	} else {
		s.status.LastError = r
		s.status.Errors++
	}
	device, failed := s.status.Device, s.status.Errors
	s.mu.Unlock()
	s.notes.observe(err, device, failed)
}

// logEvery is the least time between two lines about the same sensor.
const logEvery = time.Minute

// notes logs changes in how a sensor does. A sensor that fails now and then costs a line a minute, not two a reading.
type notes struct {
	log    *slog.Logger
	logged condition
	at     time.Time
}

// condition is how a sensor does, as far as it is worth a line in the log.
type condition string

func conditionOf(err error) condition {
	switch {
	case err == nil:
		return "good"
	case errors.Is(err, ErrIncomplete):
		return "incomplete"
	case errors.Is(err, errHanging):
		return "hanging"
	case errors.Is(err, ErrAbsent):
		return "absent"
	case errors.Is(err, ErrChecksum):
		return "checksum"
	case errors.Is(err, ErrTimeout):
		return "timeout"
	default:
		return "failing"
	}
}

// observe is called by the sampler's goroutine after each reading.
func (n *notes) observe(err error, device string, failed uint64) {
	now := conditionOf(err)
	if now == n.logged || (!n.at.IsZero() && time.Since(n.at) < logEvery) {
		return
	}
	first := n.logged == ""
	if n.logged = now; !first || err != nil {
		n.at = time.Now() // that it reads at first holds back no line about what happens then
	}
	log := n.log.With("condition", string(now), "device", device, "failed_readings", failed)
	switch {
	case errors.Is(err, ErrIncomplete):
		log.Warn("sensor reads in part", "error", err)
	case err != nil:
		log.Warn("sensor does not read", "error", err)
	case first:
		log.Info("sensor reads")
	default:
		log.Info("sensor reads again")
	}
}
