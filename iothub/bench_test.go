package iothub_test

import (
	"testing"

	"iotagent/hubsim"
	"iotagent/iothub"
)

// BenchmarkSend measures pipelined sends to a hub in the same process, without TLS.
func BenchmarkSend(b *testing.B) {
	s, err := hubsim.New(&hubsim.Options{Retention: 100})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a benchmark
	device, err := s.AddDevice("d")
	if err != nil {
		b.Fatal(err)
	}

	c, err := iothub.Dial(b.Context(), &iothub.Options{Host: "localhost", DeviceID: "d", Key: device.Key, Dial: (&bed{Server: s}).transport})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	receipts := make(chan *iothub.Receipt, 256)
	settled := make(chan bool)
	go func() {
		for r := range receipts {
			if o := r.Wait(b.Context()); o.State != iothub.Accepted {
				b.Errorf("outcome %+v", o)
			}
		}
		close(settled)
	}()
	m := message(1)
	for b.Loop() {
		r, err := c.Send(b.Context(), m)
		if err != nil {
			b.Fatal(err)
		}
		receipts <- r
	}
	close(receipts)
	<-settled
	_ = c.Close(b.Context()) // a benchmark
}
