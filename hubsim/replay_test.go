package hubsim_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
	"iotagent/iothub/sas"
)

// recorded is what a go-amqp client with token, telemetry and command links writes, to be played again for other devices at no cost.
type recorded struct {
	setup    []byte
	messages [][]byte
}

// recorder keeps what a client writes.
type recorder struct {
	net.Conn
	mu  sync.Mutex
	all []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.all = append(r.all, p...)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

func (r *recorder) take() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

func deviceName(n int) string { return fmt.Sprintf("dev-%05d", n) }

// newCrowd is a hub with devices dev-00000 and on.
func newCrowd(tb testing.TB, devices int) *hubsim.Server {
	tb.Helper()
	s, err := hubsim.New(&hubsim.Options{Retention: 100})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	for n := range devices {
		if _, err := s.AddDevice(deviceName(n)); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// record connects dev-00000 with a token for all devices and sends messages of 200 bytes.
func record(tb testing.TB, s *hubsim.Server, messages int) *recorded {
	tb.Helper()
	check := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	ctx := tb.Context()
	nc, err := s.Dial(ctx)
	check(err)
	tape := &recorder{Conn: nc}
	conn, err := amqp.NewConn(ctx, tape, &amqp.ConnOptions{HostName: "localhost", IdleTimeout: 10 * time.Minute})
	check(err)
	defer func() { _ = conn.Close() }()
	session, err := conn.NewSession(ctx, nil)
	check(err)
	in, err := session.NewReceiver(ctx, "$cbs", nil)
	check(err)
	out, err := session.NewSender(ctx, "$cbs", nil)
	check(err)
	policy, err := s.ServiceConnection("device")
	check(err)
	check(out.Send(ctx, tokenRequest("1", "n", policy.Key.Token("localhost", time.Now().Add(time.Hour), "device")), nil))
	if _, err := in.Receive(ctx, nil); err != nil {
		tb.Fatal(err)
	}
	sender, err := session.NewSender(ctx, sas.Resource("", deviceName(0), "")+"/messages/events", nil)
	check(err)
	_, err = session.NewReceiver(ctx, "/devices/"+deviceName(0)+"/messages/devicebound", &amqp.ReceiverOptions{Credit: 5})
	check(err)
	r := &recorded{setup: tape.take()}
	for range messages {
		check(sender.Send(ctx, amqp.NewMessage([]byte(strings.Repeat("x", 200))), nil))
		r.messages = append(r.messages, tape.take())
	}
	return r
}

// join plays the setup for another device and throws the hub's answers away.
func (r *recorded) join(tb testing.TB, s *hubsim.Server, device int) net.Conn {
	tb.Helper()
	nc, err := s.Dial(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, smallReads{nc}) }() // ends with the connection
	if _, err := nc.Write(bytes.ReplaceAll(r.setup, []byte(deviceName(0)), []byte(deviceName(device)))); err != nil {
		tb.Fatal(err)
	}
	return nc
}

// smallReads keeps io.Copy from a buffer of 32 KiB for each device.
type smallReads struct{ io.Reader }

// WriteTo reads in small pieces.
func (r smallReads) WriteTo(io.Writer) (int64, error) {
	var buf [512]byte
	for {
		if _, err := r.Read(buf[:]); err != nil {
			return 0, err
		}
	}
}
