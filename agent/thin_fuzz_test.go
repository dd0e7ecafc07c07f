package agent_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"iotagent/agent"
	"iotagent/outbox"
)

// Whatever one message holds, no reading of it or of its neighbours is lost, and what is not readings stays as it is.
func FuzzThinner(f *testing.F) {
	good := pack(agent.PackOptions{MaxLoss: time.Second}, slow(1, 40), func(i int) bool { return i%5 == 4 })
	thinned := agent.NewThinner(names(1), 0)(outbox.Normal, good)[0].Body
	f.Add(good[0])
	f.Add(thinned)
	f.Add([]byte("damaged"))
	f.Add((&agent.Envelope{ContentType: "application/json", ContentEncoding: "utf-8", Body: []byte(strings.Repeat("[", 50))}).Encode())
	thin := agent.NewThinner(names(1), 0)
	f.Fuzz(func(t *testing.T, body []byte) {
		run := slices.Concat(good, [][]byte{body, body, thinned}, good)
		next := apply(t, run, thin(outbox.Normal, run))
		e, err := agent.DecodeEnvelope(body)
		var count uint64
		if err == nil {
			objects, ok := agent.JSONObjects(e.Body)
			for _, o := range objects {
				count += 2 * agent.ReadingCount(o)
			}
			if !ok {
				err = errors.New("not readings")
			}
		}
		if err != nil && !slices.ContainsFunc(next, func(b []byte) bool { return bytes.Equal(b, body) }) {
			t.Fatal("what is not readings is gone")
		}
		var left uint64
		for _, b := range next {
			if e, err := agent.DecodeEnvelope(b); err == nil {
				objects, _ := agent.JSONObjects(e.Body)
				for _, o := range objects {
					left += agent.ReadingCount(o)
				}
			}
		}
		if want := count + 3*40; left != want {
			t.Fatalf("%d readings are left of %d", left, want)
		}
	})
}

func BenchmarkThinner(b *testing.B) {
	thin := agent.NewThinner(names(10), 0)
	run := pack(agent.PackOptions{MaxLoss: time.Second}, slow(10, 2000), func(i int) bool { return i%50 == 49 })
	b.SetBytes(int64(bytesOf(run)))
	b.ReportAllocs()
	for b.Loop() {
		thin(outbox.Normal, run)
	}
}
