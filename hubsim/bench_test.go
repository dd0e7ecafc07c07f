package hubsim_test

import (
	"context"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

const (
	crowd  = 5000
	rounds = 20
)

// BenchmarkDevices5000 connects 5 000 devices, each with a token, a telemetry and a command link, in one process without TLS. It reports the
// hub's memory for each and the messages of 200 bytes a second that they send all together, beside one go-amqp connection that sends as
// fast as it can (vs_go-amqp: how many times as many).
func BenchmarkDevices5000(b *testing.B) {
	for b.Loop() {
		s := newCrowd(b, crowd)
		tape := record(b, s, rounds)
		idle := pipes(b)
		before := heap()
		conns := make([]net.Conn, crowd)
		start := time.Now()
		for n := range conns {
			conns[n] = tape.join(b, s, n)
		}
		wait(b, s, func() bool { return linked(s) })
		b.ReportMetric(crowd/time.Since(start).Seconds(), "connects/s")
		b.ReportMetric(max(0, float64(heap()-before)/crowd-idle), "B/device")

		rate := flood(b, s, tape, conns)
		b.ReportMetric(rate, "msgs/s")
		b.ReportMetric(rate/reference(b, s), "vs_go-amqp")
		for _, nc := range conns {
			_ = nc.Close() // the hub is asked next
		}
		wait(b, s, func() bool { return s.Connections() == 0 })
	}
}

func wait(b *testing.B, s *hubsim.Server, cond func() bool) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	if err := s.WaitFor(ctx, cond); err != nil {
		b.Fatal(err)
	}
}

// linked looks at the last device only: they come one after the other.
func linked(s *hubsim.Server) bool { return len(s.Links(deviceName(crowd-1))) == 2 }

// pipes measures what the devices' side of a connection costs: a pipe and the goroutine that reads it.
func pipes(b *testing.B) float64 {
	b.Helper()
	const n = 500
	before := heap()
	ends := make([]net.Conn, 0, 2*n)
	for range n {
		client, server := net.Pipe()
		go func() { _, _ = smallReads{client}.WriteTo(nil) }() // ends with the pipe
		ends = append(ends, client, server)
	}
	cost := float64(heap()-before) / n
	for _, end := range ends {
		_ = end.Close() // a pipe
	}
	return max(0, cost)
}

// flood lets every device send its messages and returns how many the hub took a second.
func flood(b *testing.B, s *hubsim.Server, tape *recorded, conns []net.Conn) float64 {
	b.Helper()
	had := s.Accepted()
	start := time.Now()
	jobs := make(chan net.Conn)
	for range 2 * runtime.GOMAXPROCS(0) {
		go func() {
			for nc := range jobs {
				for _, m := range tape.messages {
					if _, err := nc.Write(m); err != nil {
						b.Error(err)
					}
				}
			}
		}()
	}
	for _, nc := range conns {
		jobs <- nc
	}
	close(jobs)
	wait(b, s, func() bool { return s.Accepted() >= had+len(conns)*rounds })
	return float64(len(conns)*rounds) / time.Since(start).Seconds()
}

// reference is the rate of one go-amqp connection to the same hub, with 256 messages under way.
func reference(b *testing.B, s *hubsim.Server) float64 {
	b.Helper()
	nc, err := s.Dial(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	policy, err := s.ServiceConnection("device")
	if err != nil {
		b.Fatal(err)
	}
	token := policy.Key.Token("localhost", time.Now().Add(time.Hour), "device")
	conn, err := amqp.NewConn(b.Context(), nc, &amqp.ConnOptions{SASLType: amqp.SASLTypePlain(deviceName(0)+"@sas.localhost", token)})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	session, err := conn.NewSession(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	sender, err := session.NewSender(b.Context(), "/devices/"+deviceName(0)+"/messages/events", nil)
	if err != nil {
		b.Fatal(err)
	}
	const n = 50_000
	body := []byte(strings.Repeat("x", 200))
	receipts := make(chan amqp.SendReceipt, 256)
	failed := make(chan error, 1)
	start := time.Now()
	go func() {
		var first error
		for r := range receipts {
			if _, err := r.Wait(b.Context()); err != nil && first == nil {
				first = err
			}
		}
		failed <- first
	}()
	for range n {
		r, err := sender.SendWithReceipt(b.Context(), amqp.NewMessage(body), nil)
		if err != nil {
			b.Fatal(err)
		}
		receipts <- r
	}
	close(receipts)
	if err := <-failed; err != nil {
		b.Fatal(err)
	}
	return n / time.Since(start).Seconds()
}
