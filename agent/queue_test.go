package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"iotagent/agent"
	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// oddQueue is a queue with one entry of each kind: Scan shows a thinned message, a gap and one that cannot be understood beside what is in
// the fake.
type oddQueue struct{ *outboxtest.Memory }

func (q oddQueue) Scan(ctx context.Context, o outbox.ScanOptions, fn func(outbox.Item) error) error {
	if err := q.Memory.Scan(ctx, o, fn); err != nil || o.Lanes != nil {
		return err
	}
	id := func(seq uint64) outbox.ID { return outbox.ID{Epoch: 0x5eed, Lane: outbox.Bulk, Seq: seq} }
	put := time.Date(2026, 11, 22, 10, 0, 0, 250e6, time.UTC)
	thin := (&agent.Envelope{ContentType: "application/json", ContentEncoding: "utf-8", Created: put, Body: []byte(`[{"sensor":"boiler"}]`)}).Encode()
	for _, it := range []outbox.Item{
		{Entry: outbox.Entry{ID: id(41), First: 7, Readings: 35, Body: thin}, Size: len(thin), Put: put, OnDisk: true},
		{Entry: outbox.Entry{ID: id(42), First: 42, Sent: true, Gap: &outbox.Gap{Epoch: 0x5eed, Lane: outbox.Bulk, Within: 10 * time.Second, AtMost: true, Reason: "unclean-stop"}}, Put: put, OnDisk: true},
		{Entry: outbox.Entry{ID: id(43), First: 43, Body: []byte("?")}, Size: 1, Put: put, OnDisk: true},
	} {
		if !o.Bodies {
			it.Body = nil
		}
		if err := fn(it); err != nil {
			return err
		}
	}
	return nil
}

// queueBed is an agent that does not run, with an alarm in flight, three normal messages and a dead letter.
func queueBed(t *testing.T) (*agent.Agent, *outboxtest.Memory) {
	t.Helper()
	q := outboxtest.NewMemory(0x5eed)
	ctx := t.Context()
	put := func(ms ...agent.PutMessage) {
		if _, err := agent.PutAll(ctx, q, instant(), ms); err != nil {
			t.Fatal(err)
		}
	}
	put(agent.PutMessage{Lane: "alarm", Body: []byte("too hot for words")}, agent.PutMessage{Lane: "alarm", ContentType: "text/plain", Encoding: "utf-8", Body: []byte("hot")})
	es, err := q.Next(2, 1<<20)
	if err != nil || len(es) != 2 {
		t.Fatal(es, err)
	}
	if err := q.Reject(es[0].ID, "amqp:link:message-size-exceeded"); err != nil {
		t.Fatal(err)
	}
	put(agent.PutMessage{ContentType: "application/json", Encoding: "utf-8", Properties: map[string]string{"site": "7"}, Body: []byte(`{"a":"<ä>"}`)},
		agent.PutMessage{ContentType: "application/octet-stream", Body: []byte{0xff, 0}})
	e := agent.Envelope{ContentType: "application/json", ContentEncoding: "utf-8", Body: []byte(`[]`)}
	if _, err := q.Put(ctx, outbox.Message{Lane: outbox.Normal, Readings: 3, Body: e.Encode()}); err != nil {
		t.Fatal(err)
	}
	return agent.New(&agent.Options{Queue: q, Admin: oddQueue{q}}), q
}

// answers sends one line and returns what comes back, up to the answer without more.
func answers(t *testing.T, conn net.Conn, request string) []json.RawMessage {
	t.Helper()
	if _, err := conn.Write([]byte(request + "\n")); err != nil {
		t.Fatal(err)
	}
	var all []json.RawMessage
	for dec := json.NewDecoder(conn); ; {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			t.Fatal(err)
		}
		all = append(all, raw)
		var a agent.Answer
		if err := json.Unmarshal(raw, &a); err != nil {
			t.Fatal(err)
		}
		if !a.More {
			return all
		}
	}
}

func TestQueueFormats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, q := queueBed(t)
		q.Damage(outbox.FileReport{Name: "control.db", Bytes: 65536}, outbox.FileReport{
			Name: "000000000007.seg", Bytes: 4194304, Messages: 1200, Problem: "block at 40960: checksum differs", Lost: 35, AtMost: true,
		})
		dial, stop := control(t, a)
		conn := dial()
		for _, row := range []struct{ file, request string }{
			{"control-queue-list.json", `{"op":"queue-list"}`},
			{"control-queue-list-bodies.json", `{"op":"queue-list","bodies":true}`},
			{"control-queue-list-dead.json", `{"op":"queue-list","dead":true,"lanes":["alarm"],"limit":10}`},
			{"control-queue-check.json", `{"op":"queue-check"}`},
			{"control-queue-repair.json", `{"op":"queue-repair"}`},
			{"control-queue-purge-dry.json", `{"op":"queue-purge","lanes":["normal","alarm"],"before":"2026-11-22T10:00:00Z","dry_run":true}`},
			{"control-queue-purge.json", `{"op":"queue-purge","lanes":["normal"]}`},
			{"control-queue-purge-dead.json", `{"op":"queue-purge","dead":true}`},
		} {
			got := answers(t, conn, row.request)
			checkFormat(t, row.file, pretty(t, map[string]any{"request": json.RawMessage(row.request), "answers": got}))
		}
		_ = conn.Close()
		stop()
	})
}

// A long queue comes in answers of a bounded size, in order and complete.
func TestQueueListIsPaged(t *testing.T) {
	q := outboxtest.NewMemory(1)
	const n = 2000
	for i := range n {
		e := agent.Envelope{Body: bytes.Repeat([]byte("x"), i)}
		if _, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Bulk, Body: e.Encode()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, bodies := range []bool{false, true} {
		for _, limit := range []int{0, 1, 256, 257, n, n + 1} {
			seen, last := 0, false
			err := agent.AnswerQueue(t.Context(), q, nil, agent.Request{Op: agent.OpQueueList, Limit: limit, Bodies: bodies}, func(a *agent.Answer) error {
				size := 0
				for _, e := range a.Entries {
					if seen++; e.MessageID != fmt.Sprintf("0000000000000001-bulk-%d", seen) {
						t.Fatalf("entry %d is %s", seen, e.MessageID)
					}
					if bodies {
						size += e.Size
					}
				}
				if len(a.Entries) > 256 || size > 64<<10+n+100 || last {
					t.Fatalf("an answer of %d entries and %d bytes, after the last: %v", len(a.Entries), size, last)
				}
				last = !a.More
				return nil
			})
			want := n
			if limit > 0 {
				want = min(limit, n)
			}
			if err != nil || seen != want || !last {
				t.Errorf("limit %d: %d entries, last %v, %v", limit, seen, last, err)
			}
		}
	}
}

func TestQueueRefuses(t *testing.T) {
	failing := outboxtest.NewMemory(1)
	failing.Fail(errors.New("the disk is gone"))
	rows := map[string]struct {
		admin outbox.Admin
		req   agent.Request
		want  string
	}{
		"no admin":      {nil, agent.Request{Op: agent.OpQueueList}, "not available"},
		"unknown op":    {nil, agent.Request{Op: "queue-burn"}, `unknown op "queue-burn"`},
		"lane":          {failing, agent.Request{Op: agent.OpQueueList, Lanes: []string{"fast"}}, `lane "fast"`},
		"list":          {failing, agent.Request{Op: agent.OpQueueList}, "the disk is gone"},
		"list dead":     {failing, agent.Request{Op: agent.OpQueueList, Dead: true}, "the disk is gone"},
		"check":         {failing, agent.Request{Op: agent.OpQueueCheck}, "the disk is gone"},
		"repair":        {failing, agent.Request{Op: agent.OpQueueRepair}, "the disk is gone"},
		"purge":         {failing, agent.Request{Op: agent.OpQueuePurge}, "alarm: the disk is gone"},
		"purge dead":    {failing, agent.Request{Op: agent.OpQueuePurge, Dead: true}, "the disk is gone"},
		"count":         {failing, agent.Request{Op: agent.OpQueuePurge, DryRun: true}, "the disk is gone"},
		"dead and lane": {failing, agent.Request{Op: agent.OpQueuePurge, Dead: true, Lanes: []string{"bulk"}}, "neither by lane nor by age"},
		"dead and age":  {failing, agent.Request{Op: agent.OpQueuePurge, Dead: true, Before: new(time.Time)}, "neither by lane nor by age"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			var got []agent.Answer
			err := agent.AnswerQueue(t.Context(), row.admin, nil, row.req, func(a *agent.Answer) error { got = append(got, *a); return nil })
			if err != nil || len(got) != 1 || !strings.Contains(got[0].Error, row.want) || got[0].More {
				t.Errorf("answers %+v, %v; want %q", got, err, row.want)
			}
		})
	}
}

// What a purge throws away is what its dry run counted, and a gap that says so goes to the hub in its place.
func TestQueuePurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := outboxtest.NewMemory(0x5eed)
		put := func(lane outbox.Lane, n int) {
			for range n {
				if _, err := q.Put(t.Context(), outbox.Message{Lane: lane, Readings: 2, Body: []byte("x")}); err != nil {
					t.Fatal(err)
				}
			}
		}
		put(outbox.Alarm, 1)
		put(outbox.Bulk, 5)
		if _, err := q.Next(2, 1<<20); err != nil { // the alarm and the first bulk message are in flight
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // virtual
		cut := time.Now()
		put(outbox.Bulk, 3)
		purge := func(dry bool) *agent.QueuePurged {
			var sum *agent.QueuePurged
			req := agent.Request{Op: agent.OpQueuePurge, Before: &cut, DryRun: dry}
			if err := agent.AnswerQueue(t.Context(), q, nil, req, func(a *agent.Answer) error { sum = a.Purged; return nil }); err != nil {
				t.Fatal(err)
			}
			return sum
		}
		want := &agent.QueuePurged{Messages: 4, Readings: 8, Lanes: []agent.LanePurged{
			{Lane: "alarm"}, {Lane: "normal"}, {Lane: "bulk", Messages: 4, Readings: 8},
		}}
		for _, dry := range []bool{true, false} {
			if diff := cmp.Diff(want, purge(dry)); diff != "" {
				t.Errorf("dry run %v (-want +got):\n%s", dry, diff)
			}
		}
		next, err := q.Next(10, 1<<20)
		if err != nil || len(next) != 4 {
			t.Fatalf("%d entries, %v", len(next), err)
		}
		if diff := cmp.Diff(&outbox.Gap{Epoch: 0x5eed, Lane: outbox.Bulk, From: 2, To: 5, Messages: 4, Readings: 8, Reason: "purged"}, next[0].Gap); diff != "" {
			t.Error(diff)
		}
	})
}

// endless is an outbox whose Scan goes on until it is stopped.
type endless struct {
	*outboxtest.Memory
	ended chan error
}

func (e endless) Scan(ctx context.Context, _ outbox.ScanOptions, fn func(outbox.Item) error) error {
	body := (&agent.Envelope{Body: bytes.Repeat([]byte("x"), 1000)}).Encode()
	var err error
	for seq := uint64(1); err == nil && ctx.Err() == nil; seq++ {
		err = fn(outbox.Item{Entry: outbox.Entry{ID: outbox.ID{Epoch: 1, Seq: seq}, First: seq, Body: body}, Size: len(body)})
	}
	e.ended <- err
	return err
}

// An export that nobody reads on delays no other connection, and ends with its client or with the daemon.
func TestControlAnswersBesideAnExport(t *testing.T) {
	for _, end := range []string{"client", "daemon"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := endless{outboxtest.NewMemory(1), make(chan error, 1)}
				dial, stop := control(t, agent.New(&agent.Options{Queue: q, Admin: q}))
				export := dial()
				if _, err := export.Write([]byte(`{"op":"queue-list","bodies":true}` + "\n")); err != nil {
					t.Fatal(err)
				}
				var first agent.Answer
				if err := json.NewDecoder(export).Decode(&first); err != nil || !first.More {
					t.Fatalf("first answer: %d entries, more %v, %v", len(first.Entries), first.More, err)
				}
				synctest.Wait() // the export is stuck in its next line now

				other := dial()
				begun := time.Now()
				if a, err := agent.Ask(t.Context(), other, agent.Request{Op: "status"}); err != nil || a.Status == nil {
					t.Fatalf("status: %+v, %v", a, err)
				}
				if d := time.Since(begun); d != 0 {
					t.Errorf("status took %s", d)
				}
				if end == "client" {
					_ = export.Close()
					if err := <-q.ended; err == nil {
						t.Error("the export went on without its client")
					}
				}
				_ = other.Close()
				stop()
				if end == "daemon" {
					<-q.ended
				}
			})
		})
	}
}

// What is exported is what was put, whatever the bytes.
func TestExportKeepsEveryByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) })).Draw(t, "body")
		q := outboxtest.NewMemory(1)
		ctx := context.Background()
		if _, err := agent.PutAll(ctx, q, instant(), []agent.PutMessage{{Body: body, Properties: map[string]string{"k": "v"}}}); err != nil {
			t.Fatal(err)
		}
		var line []byte
		err := agent.AnswerQueue(ctx, q, nil, agent.Request{Op: agent.OpQueueList, Bodies: true}, func(a *agent.Answer) (err error) {
			line, err = json.Marshal(a.Entries[0])
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var e agent.QueueEntry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		got := e.BodyBase64
		if e.Body != nil {
			got = []byte(*e.Body)
		}
		if !bytes.Equal(got, body) || e.Properties["k"] != "v" || e.Properties["seq"] != "1" {
			t.Fatalf("%s holds %q, want %q", line, got, body)
		}
	})
}
