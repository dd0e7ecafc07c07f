package main

import (
	"fmt"
	"strings"
	"time"

	"iotagent/bench/report"
)

func (f *figures) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s.\n\n", f.Time.Format(time.DateOnly), f.Machine)
	b.WriteString(f.costTable())
	fmt.Fprintf(&b, "\n%d sensors, one reading each %v:\n\n", loadSensors, loadInterval)
	b.WriteString(f.loadTable())
	b.WriteString("\nMemory of one process, fifty samplers at full speed, the hub away, an outbox of 16 MiB:\n\n")
	b.WriteString(f.flatTable())
	return b.String()
}

func (f *figures) costTable() string {
	t := report.Table{Head: []string{"one reading", "CPU µs", "× reference", "allocations", "bytes"}}
	for _, c := range f.Costs {
		t.Add(c.What, report.Number(c.Nanos/1000), report.Number(c.Nanos/f.Costs[0].Nanos), report.Number(c.Allocs), report.Number(c.Bytes))
	}
	return t.String()
}

func (f *figures) loadTable() string {
	t := report.Table{Head: []string{"", "of one core", "× reference", "readings/s", "RSS MB"}}
	for _, l := range f.Loads {
		t.Add(l.What, fmt.Sprintf("%.2f %%", l.Share*100), report.Number(l.Share/f.Loads[0].Share), report.Number(float64(l.Readings)/l.Seconds), report.Number(float64(l.RSS)/1e6))
	}
	return t.String()
}

func (f *figures) flatTable() string {
	t := report.Table{Head: []string{"readings", "RSS MB", "anonymous MB", "heap MB", "goroutines"}}
	for _, m := range f.Flat {
		t.Add(report.Count(m.Readings), report.Number(float64(m.Memory.RSS)/1e6), report.Number(float64(m.Memory.Anon)/1e6), report.Number(float64(m.Heap)/1e6), fmt.Sprint(m.Routines))
	}
	return t.String()
}
