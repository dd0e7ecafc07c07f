package hubsim_test

import (
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

// mutated returns a stream that begins like a client's and goes wrong somewhere, or is noise from the start.
func mutated(rng *rand.Rand, good []byte) []byte {
	in := append([]byte{}, good...)
	for range 1 + rng.IntN(6) {
		if len(in) == 0 {
			break
		}
		at := rng.IntN(len(in))
		switch rng.IntN(6) {
		case 0:
			in[at] ^= 1 << rng.IntN(8)
		case 1:
			in[at] = byte(rng.Uint32())
		case 2:
			in = in[:at]
		case 3: // a piece twice
			end := min(len(in), at+rng.IntN(200))
			in = append(in[:end:end], in[at:]...)
		case 4: // a piece less
			in = append(in[:at:at], in[min(len(in), at+rng.IntN(40)):]...)
		case 5:
			noise := make([]byte, rng.IntN(300))
			for i := range noise {
				noise[i] = byte(rng.Uint32())
			}
			in = append(in[:at:at], noise...)
		}
	}
	return in
}

// TestHostileConnections sends the hub many connections of broken clients, 10 000 with HUBSIM_HOSTILE=10000. It has to forget them all and
// serve a good one as before.
func TestHostileConnections(t *testing.T) {
	count := 2000
	if text := os.Getenv("HUBSIM_HOSTILE"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d, %d connections", seed, count)
		rng := rand.New(rand.NewPCG(seed, 0))
		s := newCrowd(t, 2)
		tape := record(t, s, 4)
		good := tape.setup
		for _, m := range tape.messages {
			good = append(good, m...)
		}
		attack(t, s, rng, good, count/10) // so that what is allocated once is there
		synctest.Wait()
		before, routines := alive(), strings.Count(stacks(), "\ngoroutine ")
		attack(t, s, rng, good, count)
		synctest.Wait() // what is ending has ended; what is left stays
		if dump := stacks(); strings.Count(dump, "\ngoroutine ") > routines+5 {
			t.Errorf("goroutines are left, %d were there before:\n%s", routines, dump)
		}
		if grown := int64(alive()) - int64(before); grown > 4<<20+int64(count)*100 {
			t.Errorf("%d connections have left %d bytes", count, grown)
		}

		device := s.Devices()[deviceName(1)]
		b := &bed{s, t, device}
		c := b.connect(nil)
		c.authorize(b.policyToken("device", time.Hour))
		accepted(t, c.send(c.sender("/devices/"+deviceName(1)+"/messages/events"), amqp.NewMessage([]byte("x"))))
	})
}

// attack opens connections in a few goroutines and returns when the hub has forgotten them.
func attack(t *testing.T, s *hubsim.Server, rng *rand.Rand, good []byte, count int) {
	t.Helper()
	streams := make(chan []byte)
	done := make(chan struct{})
	for range 8 {
		go func() {
			for in := range streams {
				nc, err := s.Dial(t.Context())
				if err != nil {
					t.Error(err)
					continue
				}
				read := make(chan struct{})
				go func() {
					_, _ = io.Copy(io.Discard, nc)
					close(read)
				}()
				_ = nc.SetWriteDeadline(time.Now().Add(5 * time.Second)) // the hub may not want to hear more
				_, _ = nc.Write(in)
				_ = nc.Close()
				<-read
			}
			done <- struct{}{}
		}()
	}
	for range count {
		streams <- mutated(rng, good)
	}
	close(streams)
	for range 8 {
		<-done
	}
	<-time.After(10 * time.Minute) // net.Pipe keeps what has had a deadline until then
	if err := s.WaitFor(stepContext(t), func() bool { return s.Sockets() == 0 }); err != nil {
		t.Fatalf("%d connections are left: %v", s.Sockets(), err)
	}
}

// stacks lists every goroutine. runtime.NumGoroutine would not do: it adds up counters while the runtime moves ended goroutines, 32 at a time, from
// one list to another, and may take those for living ones (gcount in runtime/proc.go says so).
func stacks() string {
	buf := make([]byte, 1<<20)
	return "\n" + string(buf[:runtime.Stack(buf, true)])
}

// alive is the memory that is reachable.
func alive() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// heap is the memory that is in use, stacks included.
func heap() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
