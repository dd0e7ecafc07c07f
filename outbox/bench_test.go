package outbox

import (
	"testing"

	"go.etcd.io/bbolt"
)

func countEpochs(t *testing.T, f *file) (n int) {
	t.Helper()
	err := f.view(func(tx *bbolt.Tx) error {
		n = tx.Bucket([]byte(bucketEpochs)).Stats().KeyN
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func benchOpen(b *testing.B) *Outbox {
	b.Helper()
	q, err := Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := q.Close(); err != nil {
			b.Error(err)
		}
	})
	return q
}

func benchPut(b *testing.B, n int) {
	q := benchOpen(b)
	ms := make([]Message, n)
	for i := range ms {
		ms[i] = Message{Lane: Normal, Body: make([]byte, 200), Readings: 1}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := q.Put(b.Context(), ms...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(q.Stats().WrittenBytes)/float64(n*b.N), "B/msg")
}

func BenchmarkPut1(b *testing.B)    { benchPut(b, 1) }
func BenchmarkPut1000(b *testing.B) { benchPut(b, 1000) }

func BenchmarkDrain(b *testing.B) {
	q := benchOpen(b)
	ms := make([]Message, 1000)
	for i := range ms {
		ms[i] = Message{Lane: Normal, Body: make([]byte, 200), Readings: 1}
	}
	for b.Loop() {
		b.StopTimer()
		if _, err := q.Put(b.Context(), ms...); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		es, err := q.Next(1000, 1<<30)
		if err != nil || len(es) != 1000 {
			b.Fatal(len(es), err)
		}
		for _, e := range es {
			if err := q.Ack(e.ID); err != nil {
				b.Fatal(err)
			}
		}
		if err := q.Sync(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(1000*b.N)/b.Elapsed().Seconds(), "msg/s")
}
