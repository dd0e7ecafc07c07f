package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// nameServer answers every question for an IPv4 address with 127.0.0.1 and for an IPv6 one with ::1, and counts the former.
type nameServer struct{ asked atomic.Int64 }

func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe() // no datagrams: the resolver puts two bytes of length before each message (RFC 1035, 4.2.2)
		go s.serve(far)
		return near, nil
	}}
}

func (s *nameServer) serve(c net.Conn) {
	defer c.Close() //nolint:errcheck // a test's server
	head := make([]byte, 2)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(head))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		if _, err := c.Write(s.answer(q)); err != nil {
			return
		}
	}
}

// answer makes an answer of a question (RFC 1035, 4.1).
func (s *nameServer) answer(q []byte) []byte {
	end := 12
	for q[end] != 0 {
		end += int(q[end]) + 1
	}
	end += 5 // the root's label, type, class
	kind := q[end-3]
	data := net.IPv6loopback
	if kind == 1 {
		s.asked.Add(1)
		data = net.IPv4(127, 0, 0, 1).To4()
	}
	a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, q[12:end]...)
	a = append(a, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, byte(len(data)))
	a = append(a, data...)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)
}

// accepting is a listener on IPv4 loopback that keeps its connections until the test ends.
func accepting(t *testing.T) (port int) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close() //nolint:errcheck // with the test
		}
	}()
	t.Cleanup(func() {
		_ = l.Close() // ends Accept
		<-done
	})
	return l.Addr().(*net.TCPAddr).Port
}

// A hub whose name has an address that never answers is reached by the other one, and the name is asked for at every connect.
func TestDeadAddressDoesNotHoldUp(t *testing.T) {
	var names nameServer
	port := accepting(t)
	d := tcpDialer(30 * time.Second)
	d.Resolver = names.resolver()
	keepAlive := d.Control
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d.Control = func(network, address string, c syscall.RawConn) error {
		if network == "tcp6" {
			<-ctx.Done() // the dead one
			return ctx.Err()
		}
		return keepAlive(network, address, c)
	}
	for range 2 {
		before := names.asked.Load()
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort("hub.test.", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if names.asked.Load() == before {
			t.Error("the name was not asked for")
		}
	}
}

func TestNothingListens(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = New(&Options{Mode: AMQPS}).Dial(t.Context(), Endpoint{Host: "127.0.0.1", Port: port})
	e := refusedWith(t, err, "dial", "connection refused")
	if !errors.Is(e, syscall.ECONNREFUSED) {
		t.Errorf("%#v", e.Err)
	}
}
