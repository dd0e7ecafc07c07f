package agent

import (
	"slices"
	"time"

	"iotagent/c2d"
	"iotagent/internal/clock"
	"iotagent/outbox"
	"iotagent/sensors"
)

// Status is what the daemon is doing, for `iotagent status --json` and the control socket. docs/formats.md shows it.
type Status struct {
	Version       string        `json:"version"`
	Time          time.Time     `json:"time"`
	ClockTrusted  bool          `json:"clock_trusted"`
	Clock         ClockStatus   `json:"clock"`
	UptimeSeconds float64       `json:"uptime_seconds"`
	Link          LinkStatus    `json:"link"`
	Metering      Metering      `json:"metering"`
	Outbox        OutboxStatus  `json:"outbox"`
	Readings      PackCounts    `json:"readings"`
	Sensors       []SensorState `json:"sensors"`
	Commands      []Command     `json:"commands"`
	// Stuck names loops that make no progress; empty when all is well.
	Stuck string `json:"stuck,omitempty"`
}

// OutboxStatus is outbox.Stats in words.
type OutboxStatus struct {
	Epoch      string       `json:"epoch"`
	Lanes      []LaneStatus `json:"lanes"`
	InFlight   int          `json:"in_flight"`
	Dead       uint64       `json:"dead_letters"`
	DiskBytes  int64        `json:"disk_bytes"`
	QuotaBytes int64        `json:"quota_bytes"`
	// WrittenBytes and Commits count since the start.
	WrittenBytes uint64 `json:"written_bytes"`
	Commits      uint64 `json:"commits"`
	// WrittenTodayBytes and WrittenTodayCommits count since the last local midnight or, when SinceStart says so, since the start, because that
	// was later.
	WrittenTodayBytes   uint64   `json:"written_today_bytes"`
	WrittenTodayCommits uint64   `json:"written_today_commits"`
	SinceStart          bool     `json:"written_today_since_start,omitempty"`
	Degraded            string   `json:"degraded,omitempty"`
	RAMOnly             uint64   `json:"ram_only,omitempty"`
	SetAside            []string `json:"set_aside,omitempty"`
}

// LaneStatus is one lane's part of OutboxStatus.
type LaneStatus struct {
	Lane    string     `json:"lane"`
	Queued  uint64     `json:"queued"`
	Bytes   uint64     `json:"bytes"`
	Oldest  *time.Time `json:"oldest,omitempty"`
	Put     uint64     `json:"put"`
	Acked   uint64     `json:"acked"`
	Dropped uint64     `json:"dropped"`
}

// SensorState is one sensor's part of Status.
type SensorState struct {
	Name           string             `json:"name"`
	Type           string             `json:"type"`
	Device         string             `json:"device,omitempty"`
	IntervalMillis int64              `json:"interval_ms"`
	Time           *time.Time         `json:"time,omitempty"`
	Values         map[string]float64 `json:"values,omitempty"`
	Quality        string             `json:"quality,omitempty"`
	Reason         string             `json:"reason,omitempty"`
	Readings       uint64             `json:"readings"`
	Errors         uint64             `json:"errors"`
	// Retries counts reads tried again within a reading, Alarms those raised, ended or noticed, Withheld readings that a deadband left out.
	Retries       uint64  `json:"retries,omitempty"`
	Alarms        uint64  `json:"alarms,omitempty"`
	Withheld      uint64  `json:"withheld,omitempty"`
	LatencyMillis float64 `json:"latency_ms"`
	// Warning says what is wrong with the sensor's configuration, as far as that shows only in a reading.
	Warning string `json:"warning,omitempty"`
}

// Status returns the present status.
func (a *Agent) Status() Status {
	now, q := a.o.Clock.Stamp(), a.o.Queue.Stats()
	s := Status{
		Version: a.o.Version, Time: now.Wall, ClockTrusted: now.Trusted, UptimeSeconds: time.Since(a.started).Seconds(),
		Clock: a.link.time.status(), Link: a.link.snapshot(), Outbox: outboxStatus(q), Readings: a.packer.snapshot(), Stuck: a.pulse.stuck(),
		Sensors: []SensorState{}, Commands: []Command{},
	}
	s.Metering, _ = a.link.metered.now()
	o := &s.Outbox
	o.WrittenTodayBytes, o.WrittenTodayCommits, o.SinceStart = a.written.today(&now, now.Wall.Local(), &q)
	for _, src := range a.o.Sources {
		s.Sensors = append(s.Sensors, sensorState(src.Status()))
	}
	if a.o.Commands != nil {
		for _, c := range a.o.Commands.Status().Commands {
			s.Commands = append(s.Commands, commandState(c))
		}
	}
	return s
}

// StoppedStatus is what can be said of a daemon that does not run, from its outbox alone.
func StoppedStatus(version string, c *clock.Clock, q outbox.Stats) Status {
	now := c.Status()
	return Status{
		Version: version, Time: now.Wall, ClockTrusted: now.Trusted, Clock: clockStatus(&now), Link: LinkStatus{State: "stopped"},
		Outbox: outboxStatus(q), Sensors: []SensorState{}, Commands: []Command{},
	}
}

func outboxStatus(q outbox.Stats) OutboxStatus {
	s := OutboxStatus{
		Epoch: epochText(q.Epoch), InFlight: q.InFlight, Dead: q.Dead, DiskBytes: q.DiskBytes, QuotaBytes: q.QuotaBytes,
		WrittenBytes: q.WrittenBytes, Commits: q.Commits, Degraded: q.Degraded, RAMOnly: q.RAMOnly, SetAside: slices.Clone(q.SetAside),
	}
	for i := range q.Queued {
		l := LaneStatus{
			Lane: outbox.Lane(i).String(), Queued: q.Queued[i], Bytes: q.Bytes[i], Put: q.Put[i], Acked: q.Acked[i], Dropped: q.Dropped[i],
		}
		if t := q.Oldest[i]; !t.IsZero() {
			l.Oldest = &t
		}
		s.Lanes = append(s.Lanes, l)
	}
	return s
}

func sensorState(st sensors.Status) SensorState {
	s := SensorState{
		Name: st.Name, Type: st.Type, Device: st.Device, IntervalMillis: st.Interval.Milliseconds(),
		Quality: string(st.Last.Quality), Reason: st.Last.Reason, Readings: st.Readings, Errors: st.Errors,
		Retries: st.Retries, Alarms: st.Alarms, Withheld: st.Withheld, Warning: st.Warning,
		LatencyMillis: float64(st.Latency.Microseconds()) / 1000,
	}
	if !st.Last.At.Wall.IsZero() {
		t := st.Last.At.Wall
		s.Time = &t
	}
	if len(st.Last.Samples) > 0 {
		s.Values = map[string]float64{}
		for _, v := range st.Last.Samples {
			s.Values[v.Name] = v.Value
		}
	}
	return s
}

var _ Commands = (*c2d.Router)(nil)
