package iothub_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
	"iotagent/iothub/sas"
	"iotagent/iothub/transport"
)

const device = "pi-17"

// wall is a wall clock for virtual time, which begins in the year 2000: before any clock is plausible.
func wall() time.Time { return time.Now().AddDate(28, 0, 0) }

// bed is a hub with one device, in memory and in virtual time.
type bed struct {
	*hubsim.Server
	t   *testing.T
	key sas.Key
	// rewrite, when set, replaces each frame from the hub by others. It runs in one goroutine for a connection.
	rewrite func(frame []byte) [][]byte
}

// run runs a test in virtual time, which begins anew for each.
func run(t *testing.T, o *hubsim.Options, f func(t *testing.T, b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if o == nil {
			o = &hubsim.Options{}
		}
		o.Now = wall
		s, err := hubsim.New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		c, err := s.AddDevice(device)
		if err != nil {
			t.Fatal(err)
		}
		f(t, &bed{Server: s, t: t, key: c.Key})
	})
}

func (b *bed) options() *iothub.Options {
	return &iothub.Options{Host: "localhost", DeviceID: device, Key: b.key, Now: wall, UserAgent: "test", Dial: b.transport}
}

// dial connects the device and closes it when the test ends.
func (b *bed) dial(o *iothub.Options) *iothub.Client {
	b.t.Helper()
	c, err := iothub.Dial(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { closeNow(b.t, c) })
	return c
}

func closeNow(t *testing.T, c *iothub.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
	defer cancel()
	_ = c.Close(ctx) // outcomes that a test left waiting are its own affair
}

func (b *bed) transport(ctx context.Context, _ transport.Endpoint) (net.Conn, error) {
	hub, err := b.Server.Dial(ctx)
	if err != nil || b.rewrite == nil {
		return hub, err
	}
	near, far := net.Pipe()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(hub, far); _ = hub.Close() })
	both.Go(func() { b.relay(far, hub); _ = far.Close() })
	b.t.Cleanup(both.Wait)
	return near, nil
}

// relay passes on what the hub sends, frame by frame through rewrite.
func (b *bed) relay(to io.Writer, from io.Reader) {
	head := make([]byte, 8)
	for {
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		frame := append([]byte(nil), head...)
		if string(head[:4]) != "AMQP" {
			frame = append(frame, make([]byte, binary.BigEndian.Uint32(head)-8)...)
			if _, err := io.ReadFull(from, frame[8:]); err != nil {
				return
			}
		}
		out := [][]byte{frame}
		if len(frame) > 10 && frame[5] == 0 {
			out = b.rewrite(frame)
		}
		for _, f := range out {
			if _, err := to.Write(f); err != nil {
				return
			}
		}
	}
}

// frame makes a frame out of a body, on the channel of another.
func frame(like []byte, body ...byte) []byte {
	f := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	f = append(f, 2, 0, like[6], like[7])
	return append(f, body...)
}

func message(n int) *iothub.Message {
	return &iothub.Message{
		ID: fmt.Sprintf("m-%d", n), ContentType: "application/json", ContentEncoding: "utf-8",
		Properties: []iothub.Property{{"n", fmt.Sprint(n)}}, Body: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

// send sends one message and waits for its outcome.
func send(t *testing.T, c *iothub.Client, n int) iothub.Outcome {
	t.Helper()
	r, err := c.Send(t.Context(), message(n))
	if err != nil {
		t.Fatalf("send %d: %v", n, err)
	}
	return r.Wait(t.Context())
}

// healed waits until a client is whole again, on the connection it had, and sends the nth message over it.
func healed(t *testing.T, c *iothub.Client, b *bed, n int) {
	t.Helper()
	synctest.Wait() // until it has noticed
	for s := c.Status(); !s.Online(); s = c.Status() {
		if c.Err() != nil {
			t.Fatal(c.Err())
		}
		time.Sleep(100 * time.Millisecond) // virtual
	}
	if o := send(t, c, n); o.State != iothub.Accepted {
		t.Errorf("outcome %+v", o)
	}
	if got := b.Sockets(); got != 1 {
		t.Errorf("%d connections", got)
	}
}

// want checks the class of an error.
func want(t *testing.T, err error, class iothub.Class) *iothub.Error {
	t.Helper()
	e, ok := errors.AsType[*iothub.Error](err)
	if !ok {
		t.Fatalf("error %v, want an *iothub.Error", err)
	}
	if e.Class != class {
		t.Errorf("class %s of %v, want %s", e.Class, e, class)
	}
	return e
}

// ended waits for a client's end and returns why.
func ended(t *testing.T, c *iothub.Client, within time.Duration) error {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(within):
		t.Fatalf("the client still lives after %v", within)
	}
	return c.Err()
}

func sprint(v any) string { return fmt.Sprintf("%v %+v %#v", v, v, v) }
