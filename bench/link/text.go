package main

import (
	"fmt"
	"strings"

	"iotagent/bench/report"
)

// text renders the figures as Markdown.
func (f *figures) text() string {
	var b strings.Builder
	p := func(format string, args ...any) {
		b.WriteString(strings.TrimSpace(fmt.Sprintf(format, args...)) + "\n\n")
	}
	p("%s, on %s. TLS to one sink on the same machine, bodies of %d bytes, medians of %d turns that took turns.",
		f.Time.Format("2006-01-02"), f.Machine, bodyBytes, f.Rounds)
	p("%s", f.aims())
	p("%s", f.table(false))
	rate := func(transfers int) string { return report.Count(int64(float64(transfers) / roundTrip.Seconds())) }
	p("With %d ms of round trip, added by a relay that delays and does not throttle. The sink's credit of %s, renewed when half of it is used, allows %s to %s "+
		"transfers a second; %d in flight, as go-amqp has here, %s; batches are bounded by iotagent's window of bytes.",
		roundTrip.Milliseconds(), report.Count(sinkCredit), rate(sinkCredit/2), rate(sinkCredit), depth, rate(depth))
	p("%s", f.table(true))
	return strings.TrimSuffix(b.String(), "\n")
}

func (f *figures) find(name string, far bool) *turn {
	for _, s := range f.Standings {
		if s.Name == name && s.Far == far && len(s.Turns) > 0 {
			return s.median()
		}
	}
	return nil
}

func (f *figures) aims() string {
	t := report.Table{Head: []string{"aim", "measured", "met"}}
	raw, single, batch := f.find(rawPipelined, false), f.find(agentSingle, false), f.find(agentBatch, false)
	add := func(aim string, measured float64, met bool) {
		t.Add(aim, "× "+report.Number(measured), map[bool]string{true: "yes", false: "no"}[met])
	}
	if raw == nil || single == nil || batch == nil {
		return ""
	}
	speed := single.perSecond() / raw.perSecond()
	add("iotagent single: ≥ 0.9 × go-amqp pipelined", speed, speed >= 0.9)
	cpu := single.cpuOf10000() / raw.cpuOf10000()
	add("processor time of a message: ≤ 1.3 × go-amqp pipelined", cpu, cpu <= 1.3)
	speed = batch.perSecond() / raw.perSecond()
	add("iotagent batches: ≥ 3 × go-amqp pipelined", speed, speed >= 3)
	return t.String()
}

func (f *figures) table(far bool) string {
	t := report.Table{Head: []string{"", "messages/s", "slowest to fastest", "× pipelined", "CPU s for 10 000", "× pipelined", "peak MB", "messages in a transfer", "sink's CPU"}}
	raw := f.find(rawPipelined, far)
	for _, s := range f.Standings {
		if s.Far != far {
			continue
		}
		if s.Missing != "" {
			t.Add(s.What, "not measured: "+s.Missing, "", "", "", "", "", "", "")
			continue
		}
		m, last := s.median(), len(s.Turns)-1
		speed, cpu := "", ""
		if raw != nil {
			speed, cpu = report.Number(m.perSecond()/raw.perSecond()), report.Number(m.cpuOf10000()/raw.cpuOf10000())
		}
		t.Add(s.What, round(m.perSecond()), round(s.Turns[0].perSecond())+"–"+round(s.Turns[last].perSecond()), speed,
			report.Number(m.cpuOf10000()), cpu, report.Number(float64(m.PeakRSS)/1e6),
			report.Number(float64(m.Messages)/float64(m.Transfers)), report.Number(100*m.SinkCPU.Seconds()/m.Elapsed.Seconds())+" %")
	}
	return t.String()
}

func (t *turn) cpuOf10000() float64 { return t.CPU.Seconds() / float64(t.Messages) * 10_000 }

func round(perSecond float64) string { return report.Count(int64(perSecond+50) / 100 * 100) }
