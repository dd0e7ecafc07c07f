package agent

import (
	"runtime"
	"time"

	"iotagent/internal/promtext"
	"iotagent/outbox"
)

// Metrics returns what the daemon counts, in the text format of Prometheus. docs/formats.md shows it.
func (a *Agent) Metrics() []byte {
	s, q := a.Status(), a.o.Queue.Stats()
	var w promtext.Writer
	w.Gauge("iotagent_build_info", "Always 1; the labels say what runs.")
	w.Value(1, "version", s.Version, "goversion", runtime.Version())
	w.Gauge("iotagent_start_time_seconds", "When the daemon started, in Unix time.")
	w.Value(unixSeconds(s.Time.Add(-time.Duration(s.UptimeSeconds * float64(time.Second))).Round(time.Second)))
	w.Gauge("iotagent_clock_trusted", "1 while the kernel or the hub vouches for the wall clock.")
	w.Bool(s.ClockTrusted)
	clockMetrics(&w, &s.Clock)
	linkMetrics(&w, &s.Link)
	uplinkMetrics(&w, &s.Link.Uplink)
	_, total := a.link.metered.now()
	meterMetrics(&w, &s.Metering, &total)
	laneMetrics(&w, s.Time, &q)
	outboxMetrics(&w, &q)
	readingMetrics(&w, &s)
	return w.Bytes()
}

// laneMetrics are about the outbox, with a value for each lane.
func laneMetrics(w *promtext.Writer, now time.Time, q *outbox.Stats) {
	each := func(of func(lane int) float64) {
		for i := range q.Queued {
			w.Value(of(i), "lane", outbox.Lane(i).String())
		}
	}
	w.Gauge("iotagent_outbox_messages", "Messages that wait for the hub.")
	each(func(i int) float64 { return float64(q.Queued[i]) })
	w.Gauge("iotagent_outbox_bytes", "Bytes of the messages that wait for the hub.")
	each(func(i int) float64 { return float64(q.Bytes[i]) })
	w.Gauge("iotagent_outbox_oldest_age_seconds", "How long the oldest message has waited; 0 when none waits.")
	each(func(i int) float64 {
		if q.Oldest[i].IsZero() {
			return 0
		}
		return max(now.Sub(q.Oldest[i]).Seconds(), 0)
	})
	for _, c := range []struct {
		name, help string
		n          *[len(q.Queued)]uint64
	}{
		{"iotagent_outbox_put_total", "Messages put into the outbox.", &q.Put},
		{"iotagent_outbox_acked_total", "Messages that left it because the hub has them.", &q.Acked},
		{"iotagent_outbox_dropped_total", "Messages dropped for want of room.", &q.Dropped},
		{"iotagent_outbox_rejected_total", "Messages moved to the dead letters.", &q.Rejected},
	} {
		w.Counter(c.name, c.help)
		each(func(i int) float64 { return float64(c.n[i]) })
	}
}

func outboxMetrics(w *promtext.Writer, q *outbox.Stats) {
	for _, g := range []struct {
		name, help string
		v          float64
	}{
		{"iotagent_outbox_in_flight", "Messages sent and not yet settled.", float64(q.InFlight)},
		{"iotagent_outbox_dead_letters", "Dead letters kept.", float64(q.Dead)},
		{"iotagent_outbox_disk_bytes", "What the outbox takes on the disk.", float64(q.DiskBytes)},
		{"iotagent_outbox_quota_bytes", "What it may take.", float64(q.QuotaBytes)},
		{"iotagent_outbox_memory_only_messages", "Messages that are in memory only.", float64(q.RAMOnly)},
		{"iotagent_outbox_damaged_files", "Damaged files that were set aside.", float64(len(q.SetAside))},
	} {
		w.Gauge(g.name, g.help)
		w.Value(g.v)
	}
	w.Gauge("iotagent_outbox_degraded", "1 while the disk is not written, because it does not work.")
	w.Bool(q.Degraded != "")
	for _, c := range []struct {
		name, help string
		n          uint64
	}{
		{"iotagent_outbox_written_bytes_total", "Bytes written to the disk.", q.WrittenBytes},
		{"iotagent_outbox_commits_total", "Fsynced transactions.", q.Commits},
		{"iotagent_outbox_dead_letters_dropped_total", "Dead letters thrown away because there were too many.", q.DeadDropped},
	} {
		w.Counter(c.name, c.help)
		w.Value(float64(c.n))
	}
}

func readingMetrics(w *promtext.Writer, s *Status) {
	for _, c := range []struct {
		name, help string
		n          uint64
	}{
		{"iotagent_readings_total", "Readings packed.", s.Readings.Readings},
		{"iotagent_readings_lost_total", "Readings that neither disk nor memory had room for.", s.Readings.ReadingsLost},
		{"iotagent_packed_messages_total", "Messages of readings put into the outbox.", s.Readings.Messages},
	} {
		w.Counter(c.name, c.help)
		w.Value(float64(c.n))
	}
	w.Counter("iotagent_sensor_readings_total", "Readings taken, the failed ones included.")
	for i := range s.Sensors {
		w.Value(float64(s.Sensors[i].Readings), "sensor", s.Sensors[i].Name)
	}
	w.Counter("iotagent_sensor_errors_total", "Readings that failed.")
	for i := range s.Sensors {
		w.Value(float64(s.Sensors[i].Errors), "sensor", s.Sensors[i].Name)
	}
	w.Gauge("iotagent_sensor_latency_seconds", "How long the latest reading took.")
	for i := range s.Sensors {
		w.Value(s.Sensors[i].LatencyMillis/1000, "sensor", s.Sensors[i].Name)
	}
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
