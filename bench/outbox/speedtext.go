package main

import (
	"fmt"
	"slices"
	"strings"

	"iotagent/bench/payload"
	"iotagent/bench/report"
	"iotagent/bench/store"
)

// speedText renders the figures as Markdown.
func speedText(f *speedFigures) string {
	var b strings.Builder
	p := func(format string, args ...any) {
		b.WriteString(strings.TrimSpace(fmt.Sprintf(format, args...)) + "\n\n")
	}
	p("%s, on %s. Bodies of %s bytes on average. Device bytes are %s. Rates are medians of %d turns of %v.",
		f.Time.Format("2006-01-02"), f.Machine, report.Number(f.BodyBytes), f.Device, rounds, slot)
	for _, k := range store.Kinds() {
		fmt.Fprintf(&b, "- **%s**: %s.\n", k, k.Describe())
	}
	b.WriteString("\n")
	p("**Aims**")
	p("%s", aimsTable(f))
	p("**Messages a second**, put durably with so many in a commit, and drained with 1 000 in a durable commit; device bytes and processor time of one message")
	p("%s", throughputTable(f, payload.Readings))
	p("The same with bodies that do not compress:")
	p("%s", throughputTable(f, payload.Random))
	p("**A durable put of one message**, alone and among %d producers (the references with a group commit in front)", producers)
	p("%s", latencyTable(f))
	p("**Cost of a message by what is queued**, in commits of 1 000; the last column is the last figure over the first")
	p("%s", depthTable(f))
	p("**Memory and start** of a process that opens the queue, before and while it drains; cold is with no page of the files in memory. "+
		"Before it opened anything, the program itself had %s MB anonymous and %s MB of files.",
		report.Number(megabytes(f.Memory[0].Warm.Start.Anon)), report.Number(megabytes(f.Memory[0].Warm.Start.File)))
	p("%s", memoryTable(f))
	return strings.TrimSuffix(b.String(), "\n")
}

func aimsTable(f *speedFigures) string {
	t := report.Table{Head: []string{"aim", "measured", "met"}}
	add := func(aim, measured string, met bool) {
		t.Add(aim, measured, map[bool]string{true: "yes", false: "no"}[met])
	}
	for _, r := range f.Throughput {
		if r.Store == store.Outbox && r.Payload == payload.Readings {
			add("puts, 1 000 in a commit: ≥ 400 000/s", report.Number(r.Put[batch].PerSecond)+"/s", r.Put[batch].PerSecond >= 400_000)
			add("drain, durable acks: ≥ 300 000/s", report.Number(r.Drain.PerSecond)+"/s", r.Drain.PerSecond >= 300_000)
		}
	}
	ds := of(f.Depth, func(d depth) bool { return d.Store == store.Outbox })
	flat := max(ds[len(ds)-1].PutMicros/ds[0].PutMicros, ds[len(ds)-1].DrainMicros/ds[0].DrainMicros)
	add("cost of a message flat, 1 000 to "+report.Count(int64(ds[len(ds)-1].Queued))+" queued", "× "+report.Number(flat), flat <= 1.25)
	ms := of(f.Memory, func(m memory) bool { return m.Store == store.Outbox })
	few, many := ms[0], ms[len(ms)-1]
	anon := float64(many.Warm.Opened.Anon) / float64(few.Warm.Opened.Anon)
	add("RssAnon with all queued: ± 10 % of that with 1 000", "× "+report.Number(anon), anon <= 1.1 && anon >= 0.9)
	file := max(many.Warm.Opened.File, many.Warm.Draining.File)
	add("RssFile, draining too: ≤ 24 MB", report.Number(megabytes(file))+" MB", megabytes(file) <= 24)
	open := max(many.Cold.OpenMillis, many.Warm.OpenMillis)
	add("open, cold too: ≤ 50 ms", report.Number(open)+" ms", open <= 50)
	return t.String()
}

func of[T any](all []T, want func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(all), func(v T) bool { return !want(v) })
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// row is a store's figures; ratios appends what the outbox's are of the others'.
type row struct {
	name   string
	values []float64
}

func ratios(t *report.Table, rows []row) {
	for _, r := range rows {
		cells := []string{r.name}
		for _, v := range r.values {
			cells = append(cells, report.Number(v))
		}
		t.Add(cells...)
	}
	for _, r := range rows[1:] {
		cells := []string{"outbox ÷ " + r.name}
		for i, v := range r.values {
			if v == 0 {
				cells = append(cells, "")
				continue
			}
			cells = append(cells, "× "+report.Number(rows[0].values[i]/v))
		}
		t.Add(cells...)
	}
}

func throughputTable(f *speedFigures, kind payload.Kind) string {
	t := report.Table{Head: []string{"store"}}
	for _, n := range batches(kind) {
		t.Head = append(t.Head, fmt.Sprintf("put/s, %d", n))
	}
	t.Head = append(t.Head, "drain/s")
	for _, n := range batches(kind) {
		t.Head = append(t.Head, fmt.Sprintf("B, %d", n))
	}
	t.Head = append(t.Head, "B, drain")
	for _, n := range batches(kind) {
		t.Head = append(t.Head, fmt.Sprintf("CPU µs, %d", n))
	}
	t.Head = append(t.Head, "CPU µs, drain")
	var rows []row
	for _, r := range of(f.Throughput, func(r throughput) bool { return r.Payload == kind }) {
		var rate, bytes, cpu []float64
		for _, n := range batches(kind) {
			rate, bytes, cpu = append(rate, r.Put[n].PerSecond), append(bytes, r.Put[n].DeviceBytes), append(cpu, r.Put[n].CPUMicros)
		}
		rate, bytes, cpu = append(rate, r.Drain.PerSecond), append(bytes, r.Drain.DeviceBytes), append(cpu, r.Drain.CPUMicros)
		rows = append(rows, row{string(r.Store), slices.Concat(rate, bytes, cpu)})
	}
	ratios(&t, rows)
	return t.String()
}

func latencyTable(f *speedFigures) string {
	t := report.Table{Head: []string{"store", "p50 ms, 1", "p99 ms, 1", "put/s, 1", "p50 ms, 256", "p99 ms, 256", "put/s, 256"}}
	var rows []row
	for _, kind := range store.Kinds() {
		r := row{name: string(kind)}
		for _, l := range of(f.Latency, func(l latency) bool { return l.Store == kind }) {
			r.values = append(r.values, l.P50Millis, l.P99Millis, l.PerSecond)
		}
		rows = append(rows, r)
	}
	ratios(&t, rows)
	return t.String()
}

func depthTable(f *speedFigures) string {
	t := report.Table{Head: []string{"µs of a message, queued:"}}
	figures := []struct {
		name string
		get  func(depth) float64
	}{
		{"put", func(d depth) float64 { return d.PutMicros }},
		{"drain", func(d depth) float64 { return d.DrainMicros }},
		{"CPU, both", func(d depth) float64 { return d.CPUMicros }},
	}
	for _, kind := range store.Kinds() {
		ds := of(f.Depth, func(d depth) bool { return d.Store == kind })
		for _, fig := range figures {
			cells := []string{string(kind) + ", " + fig.name}
			for _, d := range ds {
				cells = append(cells, report.Number(fig.get(d)))
			}
			t.Rows = append(t.Rows, append(cells, "× "+report.Number(fig.get(ds[len(ds)-1])/fig.get(ds[0]))))
		}
		if len(t.Head) == 1 {
			for _, d := range ds {
				t.Head = append(t.Head, report.Count(int64(d.Queued)))
			}
			t.Head = append(t.Head, "last ÷ first")
		}
	}
	return t.String()
}

func memoryTable(f *speedFigures) string {
	t := report.Table{Head: []string{
		"store", "queued", "disk MB", "B each", "open ms, cold", "to first, cold", "open ms, warm", "to first, warm",
		"RSS MB", "anon", "file", "draining: RSS MB", "anon", "file",
	}}
	for _, m := range f.Memory {
		cells := []string{string(m.Store), report.Count(int64(m.Queued))}
		for _, v := range []float64{
			megabytes(m.DiskBytes), float64(m.DiskBytes) / float64(m.Queued),
			m.Cold.OpenMillis, m.Cold.FirstMillis, m.Warm.OpenMillis, m.Warm.FirstMillis,
			megabytes(m.Warm.Opened.RSS), megabytes(m.Warm.Opened.Anon), megabytes(m.Warm.Opened.File),
			megabytes(m.Warm.Draining.RSS), megabytes(m.Warm.Draining.Anon), megabytes(m.Warm.Draining.File),
		} {
			cells = append(cells, report.Number(v))
		}
		t.Rows = append(t.Rows, cells)
	}
	return t.String()
}
