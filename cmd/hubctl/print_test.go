package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/iothub/service"
)

func at(hour int) time.Time { return time.Date(2026, 11, 22, hour, 4, 5, 678e6, time.UTC) }

func show(t *testing.T, zone *time.Location, colour bool, events ...service.Event) string {
	t.Helper()
	var b bytes.Buffer
	p := newPrinter(&b, zone)
	p.day, p.colour = "2026-11-22", colour
	for _, e := range events {
		if err := p.event(&e); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestEventsForPeople(t *testing.T) {
	got := show(t, time.FixedZone("CET", 3600), false,
		service.Event{Device: "pi-17", Partition: "0", Sequence: 9, Enqueued: at(9), Body: []byte(
			`[{"sensor":"boiler","time":"2026-11-22T09:04:03.000Z","temperature_celsius":21.50,"quality":"stale","reason":"no answer"},{"sensor":"attic","x":-1e-7}]`)},
		service.Event{Device: "a-longer-name", Partition: "12", Sequence: 100, Enqueued: at(10), Body: []byte(`{"command":"relay","status":200,"detail":{"level":"high"}, "ok":true}`)},
		service.Event{Device: "pi-17", Partition: "0", Sequence: 10, Enqueued: at(23), Body: []byte("two\nlines \x1b[2Jü")},
		service.Event{Device: "pi-17", Partition: "0", Sequence: 11, Enqueued: at(23), Body: []byte{0xff, 0xfe}},
		service.Event{Device: "pi-17", Partition: "0", Sequence: 12, Enqueued: at(23)},
	)
	want := strings.Join([]string{
		`10:04:05.678  pi-17     0/9   boiler 10:04:03 temperature_celsius=21.50 quality=stale reason="no answer"`,
		`                              attic x=-1e-7`,
		`11:04:05.678  a-longer-name  12/100  command=relay status=200 detail={"level":"high"} ok=true`,
		`Monday, 23 November 2026`,
		`00:04:05.678  pi-17          0/10    two lines ·[2Jü`,
		`00:04:05.678  pi-17          0/11    (2 bytes, not text)`,
		`00:04:05.678  pi-17          0/12    `,
	}, "\n") + "\n"
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEventsInColour(t *testing.T) {
	got := show(t, time.UTC, true, service.Event{Device: "pi-17", Partition: "0", Sequence: 9, Enqueued: at(9), Body: []byte("x")})
	if want := "\x1b[2m09:04:05.678\x1b[0m  \x1b[1mpi-17   \x1b[0m  \x1b[2m0/9 \x1b[0m  x\n"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestFeedbackForPeople(t *testing.T) {
	var b bytes.Buffer
	p := newPrinter(&b, time.UTC)
	p.day = "2026-11-22"
	for _, f := range []service.Feedback{
		{EnqueuedTimeUTC: at(9), DeviceID: "pi-17", StatusCode: "Success", Description: "Success", OriginalMessageID: "m-1"},
		{EnqueuedTimeUTC: at(9), DeviceID: "pi-17", StatusCode: "DeliveryCountExceeded", Description: "too\x1boften", OriginalMessageID: "m-2"},
	} {
		if err := p.feedback(&f); err != nil {
			t.Fatal(err)
		}
	}
	const want = "09:04:05.678  pi-17     Success                m-1\n" +
		"09:04:05.678  pi-17     DeliveryCountExceeded  m-2  too·often\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestColoursOnATerminalOnly(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device too
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }()
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if !colours(terminal) || colours(file) || colours(&bytes.Buffer{}) {
		t.Errorf("terminal %v, file %v, buffer %v", colours(terminal), colours(file), colours(&bytes.Buffer{}))
	}
	t.Setenv("NO_COLOR", "1")
	if colours(terminal) {
		t.Error("NO_COLOR is not honoured")
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if colours(terminal) {
		t.Error("a dumb terminal gets colours")
	}
}

func FuzzBodyLines(f *testing.F) {
	for _, s := range []string{`[{"sensor":"a","time":"2026-11-22T09:04:03Z","v":1}]`, `{"a":{"b":[1,"\u001b"]}}`, `[1,{}]`, `{}`, `[]`, "\x1b[2J\n", `{"a":1}{`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		lines := bodyLines(body, time.UTC)
		if len(lines) == 0 {
			t.Error("no line")
		}
		for _, line := range lines {
			for _, r := range line {
				if r < ' ' || (r >= 0x7f && r < 0xa0) {
					t.Errorf("control character in %q", line)
				}
			}
		}
	})
}
