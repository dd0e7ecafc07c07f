package main

import (
	"fmt"
	"strings"
	"time"

	"iotagent/bench/payload"
	"iotagent/bench/report"
)

// budget is how many device bytes a message may cost, its ack included, by max_loss.
func budget(interval time.Duration) float64 {
	return map[time.Duration]float64{time.Second: 2200, 10 * time.Second: 430, time.Minute: 110}[interval]
}

// flashText renders the figures as Markdown.
func flashText(f *flashFigures) string {
	var b strings.Builder
	p := func(format string, args ...any) {
		b.WriteString(strings.TrimSpace(fmt.Sprintf(format, args...)) + "\n\n")
	}
	p("%s, on %s. Bytes are %s (4 KiB blocks, noatime, data=ordered).",
		f.Time.Format("2006-01-02"), f.Machine, f.Device)
	p("**Hub away** for %v, ten messages a second in three lanes (1, 90 and 9 of 100), then drained with 1 000 acks in a commit: device bytes of a message. "+
		"The log is the least that is possible: a file of zeros, one block and one fdatasync for each commit. Its own are the pages of a commit by the outbox's count; "+
		"what is more is the file system's. Time is compressed: %v between commits, the journal committed every %v and inodes written every %v of simulated time.", f.Span, pause, journalEvery, inodesEvery)
	p("%s", awayTable(f))
	p("**Control**: the same without the drain, %v, compressed and in real time, where the outbox and the kernel go by their own timers.", f.Control[0].Span)
	p("%s", controlTable(f))
	o := f.Online
	p("**Hub answering**, `max_loss = \"10s\"`: %s messages, each accepted within %v, wrote **%s bytes** in %v (%s commits of the outbox); "+
		"as long a time without messages wrote %s. Budget: 0. %s.", report.Count(int64(o.Messages)), onlinePause+5*time.Millisecond, report.Count(o.BusyBytes), o.Window,
		report.Count(int64(o.Commits)), report.Count(o.IdleBytes), map[bool]string{true: "Met", false: "Not met"}[o.BusyBytes <= o.IdleBytes && o.Commits == 0])
	return strings.TrimSuffix(b.String(), "\n")
}

func awayTable(f *flashFigures) string {
	t := report.Table{Head: []string{"bodies, max_loss", "outbox", "of it puts", "acks", "budget", "met", "log, zstd", "log, raw", "outbox ÷ log, zstd", "commits", "B a commit", "its own"}}
	for _, kind := range []payload.Kind{payload.Readings, payload.Random} {
		for _, interval := range intervals() {
			by := map[string]away{}
			for _, a := range of(f.Away, func(a away) bool { return a.Payload == kind && a.Interval == interval }) {
				by[a.Store] = a
			}
			ours, packed, raw := by[outboxFlash], by[logPacked], by[logRaw]
			met := map[bool]string{true: "yes", false: "no"}[ours.PerMessage() <= budget(interval)]
			limit, rawText := "≤ "+report.Number(budget(interval)), report.Number(raw.PerMessage())
			if kind == payload.Random {
				met, limit, rawText = "", "", "" // no budget for the worst case; a raw log does not care what is in it
			}
			t.Add(fmt.Sprintf("%s, %v", kind, interval), report.Number(ours.PerMessage()), report.Number(ours.Fill()),
				report.Number(ours.PerMessage()-ours.Fill()), limit, met, report.Number(packed.PerMessage()), rawText,
				"× "+report.Number(ours.PerMessage()/packed.PerMessage()), report.Count(int64(ours.Commits)),
				report.Count(ours.FillBytes/max(1, int64(ours.Commits))), report.Count(int64(ours.OwnBytes/max(1, ours.Commits))))
		}
	}
	return t.String()
}

func controlTable(f *flashFigures) string {
	t := report.Table{Head: []string{"outbox, readings, 10 s", "B a message", "commits"}}
	var fills []float64
	for _, c := range f.Control {
		fills = append(fills, c.Fill())
		t.Add(map[bool]string{true: "real time", false: "compressed"}[c.Real], report.Number(c.Fill()), report.Count(int64(c.Commits)))
	}
	t.Add("compressed ÷ real", "× "+report.Number(fills[1]/fills[0]), "")
	return t.String()
}
