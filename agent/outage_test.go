package agent_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"iotagent/agent"
	"iotagent/internal/clock"
	"iotagent/outbox"
	"iotagent/sensors"
)

// An outage of thirty days of ten sensors at 1 Hz in 64 MiB keeps the whole time span and every alarm, when the sensors may be thinned.
// OUTAGE_DAYS=30 does it in full; without it, it is one day in a thirtieth of the space, with a reading every 10 s that takes ten times the room.
func TestLongOutage(t *testing.T) {
	days, every, noise := 1, 10, 4
	if s := os.Getenv("OUTAGE_DAYS"); s != "" {
		var err error
		if days, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		every, noise = 1, 0
	} else {
		t.Log("one day only; OUTAGE_DAYS=30 for all of it")
	}
	const sensorCount = 10
	seconds := days * 86400
	quota := int64(days) * (64 << 20) / 30
	q, err := outbox.Open(t.TempDir(), &outbox.Options{
		MaxBytes: quota, MinFree: -1, MaxLoss: time.Hour, Thin: agent.NewThinner(names(sensorCount), 4096),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}()
	o := &outage{t: t, q: q, every: every, noise: noise, random: rand.New(rand.NewPCG(1, 2)), batch: agent.NewBatch(outbox.Normal, agent.PackOptions{MaxLoss: time.Hour, FlushInterval: time.Hour})}
	for i := 0; i < seconds; i += every {
		o.second(i, sensorCount)
	}
	o.put(o.batch.Seal())
	if err := q.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := q.Stats()
	if s.DiskBytes > quota || s.Dropped != [3]uint64{} || s.Degraded != "" {
		t.Errorf("%d bytes on the disk of %d, dropped %v, %s", s.DiskBytes, quota, s.Dropped, s.Degraded)
	}
	o.drain(seconds, sensorCount)
	t.Logf("%d readings of %d sensors in %d bytes: thinned to %d, the longest stretch that one stands for is %v",
		seconds/every*sensorCount, sensorCount, s.DiskBytes, o.kept, o.longest)
}

type outage struct {
	t       *testing.T
	q       *outbox.Outbox
	every   int // seconds
	noise   int // further values, which do not compress
	random  *rand.Rand
	batch   agent.Batch
	alarms  int
	kept    int
	longest time.Duration
}

// second is what is measured in one.
func (o *outage) second(i, sensorCount int) {
	for s := range sensorCount {
		v := 20 + float64(s) + 3*math.Sin(float64(i)/900+float64(s)) + float64((i*7919+s*104729)%7)/50
		samples := []sensors.Sample{{Name: "temperature_celsius", Value: math.Round(v*100) / 100}}
		for n := range o.noise {
			samples = append(samples, sensors.Sample{Name: fmt.Sprintf("noise_%d_volts", n), Value: o.random.Float64()})
		}
		o.put(o.batch.Add(&sensors.Reading{
			Sensor: fmt.Sprintf("sensor-%d", s), Quality: sensors.Good, At: clock.Stamp{Wall: instant().Add(time.Duration(i) * time.Second), Trusted: true}, Samples: samples,
		}))
	}
	if i%3600 == 1800 {
		o.alarms++
		e := agent.Envelope{ContentType: "application/json", ContentEncoding: "utf-8", Body: fmt.Appendf(nil, `{"alarm":%d}`, o.alarms)}
		o.put(&outbox.Message{Lane: outbox.Alarm, Durable: true, Body: e.Encode()})
	}
}

func (o *outage) put(m *outbox.Message) {
	o.t.Helper()
	if m == nil {
		return
	}
	if _, err := o.q.Put(o.t.Context(), *m); err != nil {
		o.t.Fatal(err)
	}
}

// drain takes everything and holds it against what was measured.
func (o *outage) drain(seconds, sensorCount int) {
	o.t.Helper()
	next := map[string]time.Time{}
	count := map[string]int{}
	alarms, seq := 0, uint64(0)
	for o.q.Stats().Queued != [3]uint64{} {
		if err := o.q.Sync(o.t.Context()); err != nil {
			o.t.Fatal(err)
		}
		es, err := o.q.Next(1000, 1<<20)
		if err != nil {
			o.t.Fatal(err)
		}
		for _, e := range es {
			if err := o.q.Ack(e.ID); err != nil {
				o.t.Fatal(err)
			}
			if e.Gap != nil {
				o.t.Fatalf("a gap: %+v", e.Gap)
			}
			if e.ID.Lane == outbox.Alarm {
				alarms++
				continue
			}
			if e.First != seq+1 {
				o.t.Fatalf("%d to %d follow %d", e.First, e.ID.Seq, seq)
			}
			seq = e.ID.Seq
			for _, x := range readAll(o.t, [][]byte{e.Body}) {
				o.kept++
				from, to := x.span(o.t)
				if want := next[x.sensor]; !want.IsZero() && !from.Equal(want) {
					o.t.Fatalf("%s: %s follows what ended before %s", x.sensor, from, want)
				}
				next[x.sensor] = to.Add(time.Duration(o.every) * time.Second)
				count[x.sensor] += max(x.count, 1)
				o.longest = max(o.longest, to.Sub(from))
			}
		}
	}
	for s := range sensorCount {
		if n := count[fmt.Sprintf("sensor-%d", s)]; n != seconds/o.every {
			o.t.Errorf("sensor-%d: %d readings are accounted for, of %d", s, n, seconds/o.every)
		}
	}
	if alarms != o.alarms {
		o.t.Errorf("%d alarms of %d", alarms, o.alarms)
	}
}

// span is from when to when a reading is.
func (s *said) span(t *testing.T) (from, to time.Time) {
	t.Helper()
	from, err := time.Parse(time.RFC3339, s.time)
	if err != nil {
		t.Fatal(err)
	}
	if s.to == "" {
		return from, from
	}
	if to, err = time.Parse(time.RFC3339, s.to); err != nil {
		t.Fatal(err)
	}
	return from, to
}
