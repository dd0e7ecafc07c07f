package amqpd

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSASLWithClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sasl     amqp.SASLType
		mech     string
		response string
	}{
		"plain":     {amqp.SASLTypePlain("user", "pass"), "PLAIN", "\x00user\x00pass"},
		"anonymous": {amqp.SASLTypeAnonymous(), "ANONYMOUS", "anonymous"},
		"external":  {amqp.SASLTypeExternal("resp"), "EXTERNAL", "resp"},
		"none":      {nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var response []byte
			cfg := Config{
				Welcome: []byte("Welcome!"),
				Authenticate: func(_ context.Context, req *SASLRequest) (any, SASLCode) {
					response = req.Response
					return "identity of " + req.Mechanism, SASLOK
				},
			}
			opened := make(chan *Conn, 1)
			h := &node{opened: func(c *Conn) error { opened <- c; return nil }}
			_, _, _ = dial(t, cfg, h, &amqp.ConnOptions{SASLType: c.sasl, HostName: "hub", ContainerID: "me"})
			conn := <-opened
			var want any
			if c.mech != "" {
				want = "identity of " + c.mech
			}
			if conn.Identity() != want || conn.Mechanism() != c.mech || string(response) != c.response {
				t.Errorf("identity %v, mechanism %q, response %q", conn.Identity(), conn.Mechanism(), response)
			}
			open := conn.Remote()
			if open.ContainerID != "me" || open.Hostname != "hub" || open.IdleTimeout != 30*time.Second {
				t.Errorf("open: %+v", open)
			}
		})
	}
}

func TestSASLRefused(t *testing.T) {
	t.Parallel()
	for _, code := range []SASLCode{SASLAuth, SASLSys} {
		peer, wait := start(t, Config{
			Authenticate: func(context.Context, *SASLRequest) (any, SASLCode) { return nil, code },
		}, &node{closed: func(*Conn, error) { t.Error("Closed was called for a connection that did not open") }})
		_, err := amqp.NewConn(within(t), peer, &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("a", "b")})
		if err == nil {
			t.Error("code", code, "connected")
		}
		if err := wait(); !errors.Is(err, errSASL) {
			t.Errorf("serve: %v", err)
		}
	}
}

// TestSASLChallenge plays a client of PLAIN that waits to be asked.
func TestSASLChallenge(t *testing.T) {
	t.Parallel()
	peer, _ := start(t, Config{}, &node{})
	p := speak(t, peer, headerSASL())
	mechs := p.expect(codeSASLMechanisms)
	want := []any{Array{Symbol("PLAIN"), Symbol("ANONYMOUS"), Symbol("MSSBCBS"), Symbol("EXTERNAL")}}
	if diff := cmp.Diff(mechs.fields, want); diff != "" || mechs.typ != frameTypeSASL {
		t.Errorf("mechanisms: got - want +\n%s", diff)
	}
	p.write(appendFrame(nil, frameTypeSASL, 0, &saslFrame{codeSASLInit, []any{Symbol("PLAIN")}}, nil))
	p.expect(codeSASLChallenge)
	p.write(appendFrame(nil, frameTypeSASL, 0, &saslFrame{codeSASLResponse, []any{[]byte("\x00a\x00b")}}, nil))
	if out := p.expect(codeSASLOutcome); cmp.Diff(out.fields, []any{uint8(0)}) != "" {
		t.Errorf("outcome %v", out.fields)
	}
}

func TestWrongHeader(t *testing.T) {
	t.Parallel()
	for in, c := range map[string]struct {
		want    []byte
		require bool
	}{
		"AMQP\x00\x00\x09\x01": {headerAMQP(), false},
		"AMQP\x02\x01\x00\x00": {headerAMQP(), false},
		"GET / HT":             {headerAMQP(), false},
		"AMQP\x00\x01\x00\x00": {headerSASL(), true},
	} {
		peer, wait := start(t, Config{RequireSASL: c.require}, &node{})
		if _, err := peer.Write([]byte(in)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(peer)
		if err != nil || string(got) != string(c.want) {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
		if err := wait(); !errors.Is(err, errHeader) {
			t.Errorf("%q: serve: %v", in, err)
		}
	}
}

func TestOpenRefused(t *testing.T) {
	t.Parallel()
	h := &node{opened: func(*Conn) error { return &Error{Condition: "a:b", Description: "no"} }}
	peer, wait := start(t, Config{}, h)
	_, err := amqp.NewConn(within(t), peer, nil)
	if err == nil {
		if err = wait(); err == nil {
			t.Error("serve returned nil")
		}
	}
	var own *Error
	if err := wait(); !errors.As(err, &own) || own.Condition != "a:b" {
		t.Errorf("serve: %v", err)
	}
}

func TestCloseWithError(t *testing.T) {
	t.Parallel()
	conns := make(chan *Conn, 1)
	closed := make(chan error, 1)
	h := &node{
		opened: func(c *Conn) error { conns <- c; return nil },
		closed: func(_ *Conn, err error) { closed <- err },
	}
	c, _, wait := dial(t, Config{}, h, nil)
	conn := <-conns
	conn.Close(&Error{Condition: CondConnectionForced, Description: "upgrade"})
	<-c.Done()
	var remote *amqp.Error
	if err := c.Err(); !errors.As(err, &remote) || remote.Condition != amqp.ErrCondConnectionForced {
		t.Errorf("client: %v", err)
	}
	var own *Error
	if err := wait(); !errors.As(err, &own) || own.Description != "upgrade" {
		t.Errorf("serve: %v", err)
	}
	if err := <-closed; !errors.As(err, &own) {
		t.Errorf("closed: %v", err)
	}
	<-conn.Done()
}

func TestClientCloses(t *testing.T) {
	t.Parallel()
	var order []string
	h := &node{
		detached: func(*Link, error) { order = append(order, "detached") },
		closed:   func(*Conn, error) { order = append(order, "closed") },
	}
	c, s, wait := dial(t, Config{}, h, nil)
	if _, err := s.NewSender(within(t), "x", nil); err != nil {
		t.Fatal(err)
	}
	_ = c.Close() // go-amqp takes the end of a pipe for a failure
	if err := wait(); err != nil {
		t.Errorf("serve: %v", err)
	}
	if diff := cmp.Diff(order, []string{"detached", "closed"}); diff != "" {
		t.Errorf("callbacks: got - want +\n%s", diff)
	}
}

func TestDrop(t *testing.T) {
	t.Parallel()
	conns := make(chan *Conn, 1)
	c, _, wait := dial(t, Config{}, &node{opened: func(c *Conn) error { conns <- c; return nil }}, nil)
	(<-conns).Drop()
	<-c.Done()
	if err := wait(); err == nil {
		t.Error("serve after a drop: want an error")
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		peer, server := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { err = Serve(ctx, server, &Config{Handler: &node{}}) })
		p := speak(t, peer, headerAMQP())
		p.open()
		cancel()
		if f := p.expect(codeClose); f.condition(0) != CondConnectionForced {
			t.Errorf("close %v", f.fields)
		}
		p.expectClosed() // though the peer never answers
		wg.Wait()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("serve: %v", err)
		}
	})
}

func TestIdleTimeouts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &node{}
		peer := newRaw(t, Config{IdleTimeout: 100 * time.Second}, h)
		begun := time.Now()
		peer.send(0, uint64(codeOpen), "raw", "host", nil, nil, uint32(20000))
		if open := peer.expect(codeOpen); cmp.Diff(open.fields[4], any(uint32(100000))) != "" {
			t.Errorf("our idle-time-out is %v", open.fields[4])
		}
		beats := 0
		for f := range peer.frames {
			if f.code == 0 {
				beats++
				continue
			}
			if f.code != codeClose || f.condition(0) != CondResourceLimitExceeded {
				t.Errorf("got 0x%x %v", f.code, f.fields)
			}
		}
		// A heartbeat every 10 s for 100 s, then CLOSE and 2 s for its answer.
		if took := time.Since(begun); beats < 9 || beats > 10 || took < 100*time.Second || took > 103*time.Second {
			t.Errorf("%d heartbeats in %s", beats, took)
		}
	})
}

func TestIdleTimeoutTooShort(t *testing.T) {
	t.Parallel()
	peer := newRaw(t, Config{}, &node{opened: func(*Conn) error { t.Error("Opened was called"); return nil }})
	peer.send(0, uint64(codeOpen), "raw", "host", nil, nil, uint32(4999))
	peer.expect(codeOpen)
	if f := peer.expect(codeClose); f.condition(0) != CondNotAllowed {
		t.Errorf("close %v", f.fields)
	}
	peer.expectClosed()
}

func TestHandshakeTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, wait := start(t, Config{}, &node{})
		begun := time.Now()
		if err := wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("serve: %v", err)
		}
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestClientStaysForHours lets go-amqp and the server keep each other awake.
func TestClientStaysForHours(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s, wait := dial(t, Config{}, &node{}, nil)
		time.Sleep(5 * time.Hour)
		snd, err := s.NewSender(t.Context(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := snd.Send(t.Context(), amqp.NewMessage([]byte("still here")), nil); err != nil {
			t.Errorf("send: %v", err)
		}
		_ = c.Close() // go-amqp takes the end of a pipe for a failure
		if err := wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestPeerThatDoesNotRead must not keep the server for ever.
func TestPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		peer, wait := start(t, Config{IdleTimeout: -1}, &node{})
		if _, err := peer.Write(headerAMQP()); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		open := &openFrame{containerID: "raw", maxFrameSize: minFrameSize}
		if _, err := peer.Write(appendFrame(nil, frameTypeAMQP, 0, open, nil)); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := wait(); !errors.Is(err, errWriteTimeout) {
			t.Errorf("serve: %v", err)
		}
		if took := time.Since(begun); took != 60*time.Second {
			t.Errorf("took %s", took)
		}
	})
}
