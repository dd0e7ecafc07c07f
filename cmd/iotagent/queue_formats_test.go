package main

import (
	"bytes"
	"context"
	"testing"
	"time"

	"iotagent/agent"
	"iotagent/internal/cli"
	"iotagent/internal/golden"
)

func tenOClock() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) }

// someEntries is one of each kind.
func someEntries() []agent.QueueEntry {
	text := `[{"sensor":"boiler","time":"2026-11-22T06:47:59.250Z","temperature_celsius":21.5}]`
	put, early := tenOClock().Add(-3*time.Hour-12*time.Minute), time.Date(1970, 1, 1, 0, 3, 0, 0, time.UTC)
	json := func(lane, seq string) *agent.Content {
		return &agent.Content{
			ContentType: "application/json", ContentEncoding: "utf-8", Body: &text,
			Properties: map[string]string{"epoch": "8c1d2e3f4a5b6c7d", "lane": lane, "seq": seq},
		}
	}
	alarm := json("alarm", "7")
	alarm.Properties["site"] = "7 <Ä>"
	gap := &agent.Content{
		ContentType: "application/json", ContentEncoding: "utf-8",
		Properties: map[string]string{"epoch": "8c1d2e3f4a5b6c7d", "lane": "normal", "seq": "1041", "kind": "gap"},
	}
	thinned := json("bulk", "60")
	thinned.Properties["seq_from"] = "1"
	return []agent.QueueEntry{
		{MessageID: "8c1d2e3f4a5b6c7d-alarm-7", Lane: "alarm", Put: put, Size: 61, Readings: 1, Sent: true, Durable: true, InFlight: true, Content: alarm},
		{
			MessageID: "8c1d2e3f4a5b6c7d-normal-1041", Lane: "normal", Put: put, Content: gap,
			Gap: &agent.DeclaredGap{Epoch: "8c1d2e3f4a5b6c7d", Lane: "normal", From: 7, To: 1041, Messages: 1035, Readings: 14490, Reason: "quota"},
		},
		{MessageID: "8c1d2e3f4a5b6c7d-normal-1042", Lane: "normal", Put: put, Size: 4096, Readings: 43, Sent: true, Content: json("normal", "1042")},
		{MessageID: "8c1d2e3f4a5b6c7d-normal-1043", Lane: "normal", Put: early, Size: 412, Readings: 3, MemoryOnly: true, Content: json("normal", "1043")},
		{MessageID: "8c1d2e3f4a5b6c7d-bulk-60", Lane: "bulk", Put: put, Size: 900, Readings: 10, First: 1, Content: thinned},
		{
			MessageID: "8c1d2e3f4a5b6c7d-bulk-61", Lane: "bulk", Put: put, Size: 34, Durable: true,
			Content: &agent.Content{ContentType: "application/octet-stream", Properties: map[string]string{"epoch": "8c1d2e3f4a5b6c7d", "lane": "bulk", "seq": "61"}, BodyBase64: []byte{0xff, 0}},
		},
	}
}

func someLetters() []agent.QueueEntry {
	at := tenOClock().Add(-2 * time.Minute)
	es := someEntries()
	e := es[2]
	e.Sent, e.Rejected, e.Reason = false, &at, "amqp:link:message-size-exceeded\nof \x1b[31m262144"
	return []agent.QueueEntry{e}
}

// answering gives the same answers to every request, and keeps the requests.
func answering(asked *[]agent.Request, answers ...agent.Answer) asker {
	return func(_ context.Context, req agent.Request, each func(*agent.Answer) error) error {
		*asked = append(*asked, req)
		for i := range answers {
			if err := each(&answers[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

func withoutContent(es []agent.QueueEntry) []agent.QueueEntry {
	for i := range es {
		es[i].Content = nil
	}
	return es
}

func TestQueueListFormats(t *testing.T) {
	var text []byte
	for _, e := range append(withoutContent(someEntries()), withoutContent(someLetters())...) {
		text = append(text, entryLine(tenOClock(), &e)...)
	}
	for _, g := range []agent.DeclaredGap{
		{Reason: "memory", Messages: 2, From: 1, To: 2},
		{Reason: "damage", Messages: 35, AtMost: true, Readings: 70},
		{Reason: "damage", AtMost: true},
		{Reason: "purged", Messages: 1, From: 9, To: 9, Readings: 1},
		{Reason: "unclean-stop", AtMost: true, WithinSeconds: 10},
		{Reason: "new"},
	} {
		text = append(text, gapText(&g)+"\n"...)
	}
	golden.Check(t, "testdata/queue-list.txt", text, *update)

	var asked []agent.Request
	var out bytes.Buffer
	c := &queueList{Limit: 100, JSON: true}
	if err := c.list(t.Context(), cli.IO{Out: &out}, answering(&asked, agent.Answer{Entries: withoutContent(someEntries()), More: true}, agent.Answer{Entries: withoutContent(someLetters())})); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "../../docs/formats/queue-list.json", out.Bytes(), *update)
}

func TestQueueExportFormat(t *testing.T) {
	var asked []agent.Request
	var out bytes.Buffer
	c := &queueExport{Output: "-"}
	if err := c.export(t.Context(), cli.IO{Out: &out}, answering(&asked, agent.Answer{Entries: someEntries(), More: true}, agent.Answer{Entries: someLetters()})); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "../../docs/formats/queue-export.json", out.Bytes(), *update)
}

func TestQueueStatsFormats(t *testing.T) {
	before, now := tenOClock().Add(-3*time.Hour-12*time.Minute), tenOClock()
	q := &queueCounts{
		Running: true, Time: now,
		OutboxStatus: agent.OutboxStatus{
			Epoch: "8c1d2e3f4a5b6c7d",
			Lanes: []agent.LaneStatus{
				{Lane: "alarm"},
				{Lane: "normal", Queued: 41233, Bytes: 6 << 20, Oldest: &before, Put: 41240, Acked: 7},
				{Lane: "bulk", Queued: 12, Bytes: 3000, Oldest: &now, Put: 19, Dropped: 7},
			},
			InFlight: 512, Dead: 3, DiskBytes: 6<<20 + 1e5, QuotaBytes: 64 << 20, WrittenBytes: 7 << 20, Commits: 4123,
			WrittenTodayBytes: 3 << 20, WrittenTodayCommits: 1700,
			Degraded: "no space left on device", RAMOnly: 17,
			SetAside: []string{"/var/lib/iotagent/outbox/000000000007.seg.corrupt-20261122T080000Z"},
		},
	}
	var text, object bytes.Buffer
	if err := q.print(&text); err != nil {
		t.Fatal(err)
	}
	if err := printObject(&object, q); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "../../docs/formats/queue-stats.json", object.Bytes(), *update)
	text.WriteString("--- in memory, not failing\n")
	q.Degraded, q.SetAside, q.Dead, q.SinceStart = "", nil, 0, true
	if err := q.print(&text); err != nil {
		t.Fatal(err)
	}
	text.WriteString("--- stopped, of an unknown quota\n")
	q.Running, q.QuotaBytes, q.RAMOnly = false, 0, 0
	if err := q.print(&text); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/queue-stats.txt", text.Bytes(), *update)
}

func TestQueueReportFormats(t *testing.T) {
	damaged := agent.QueueReport{Files: []agent.QueueFile{
		{Name: "control.db", Bytes: 65536},
		{Name: "000000000006.seg", Bytes: 4 << 20, Messages: 20160},
		{Name: "000000000007.seg", Bytes: 4 << 20, Messages: 20011, Problem: "block at 40960: checksum differs"},
	}}
	repaired := agent.QueueReport{Sound: true, Files: []agent.QueueFile{
		{Name: "control.db", Bytes: 65536},
		{Name: "000000000007.seg", Bytes: 4 << 20, Messages: 20011, Problem: "block at 40960: checksum differs", Repaired: true, Lost: 149},
		{Name: "000000000008.seg", Bytes: 4 << 20, Messages: 11, Problem: "page 3: cut short", Repaired: true, Lost: 20, AtMost: true},
		{Name: "000000000009.seg", Bytes: 4 << 20, Messages: 0, Problem: "no header", Repaired: true, AtMost: true},
		{Name: "000000000010.seg", Bytes: 4 << 20, Messages: 7, Problem: "page 9: a hole", Repaired: true},
	}}
	var asked []agent.Request
	for _, row := range []struct {
		op, name string
		report   agent.QueueReport
		status   string
	}{
		{agent.OpQueueCheck, "queue-check", damaged, "1 of 3 files damaged"},
		{agent.OpQueueRepair, "queue-repair", repaired, ""},
		{agent.OpQueueCheck, "queue-check-empty", agent.QueueReport{Sound: true, Files: []agent.QueueFile{}}, ""},
	} {
		for _, asJSON := range []bool{false, true} {
			var out bytes.Buffer
			err := inspectFiles(t.Context(), cli.IO{Out: &out}, answering(&asked, agent.Answer{Report: &row.report}), row.op, asJSON, "next")
			if got := errorText(err); got != row.status {
				t.Errorf("%s: error %q, want %q", row.name, got, row.status)
			}
			file := "testdata/" + row.name + ".txt"
			if asJSON {
				file = "../../docs/formats/" + row.name + ".json"
			}
			if row.name != "queue-check-empty" || !asJSON {
				golden.Check(t, file, out.Bytes(), *update)
			}
		}
	}
	if err := inspectFiles(t.Context(), cli.IO{}, answering(&asked, agent.Answer{}), agent.OpQueueCheck, false, ""); err == nil {
		t.Error("an answer without a report passed for a sound outbox")
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestQueuePurgeFormats(t *testing.T) {
	sum := &agent.QueuePurged{Messages: 14, Readings: 390, Lanes: []agent.LanePurged{
		{Lane: "alarm", Messages: 2, Readings: 2}, {Lane: "normal"}, {Lane: "bulk", Messages: 12, Readings: 388},
	}}
	var out bytes.Buffer
	if err := (&queuePurge{JSON: true}).print(&out, sum); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "../../docs/formats/queue-purge.json", out.Bytes(), *update)
}
