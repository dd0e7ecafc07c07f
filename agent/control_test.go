package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/agent"
	"iotagent/iothub"
	"iotagent/outbox"
)

// pipeListener hands out the server's ends of in-memory connections.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// control serves a's socket until the returned function is called.
func control(t *testing.T, a *agent.Agent) (dial func() net.Conn, stop func()) {
	t.Helper()
	l := newPipeListener()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { agent.NewControl(a, nil).Serve(ctx, l) })
	return func() net.Conn {
			client, server := net.Pipe()
			l.conns <- server
			return client
		}, func() {
			cancel()
			wg.Wait()
		}
}

// controlTalk sends one line and returns the request and the answer, indented.
func controlTalk(t *testing.T, a *agent.Agent, request string) []byte {
	t.Helper()
	dial, stop := control(t, a)
	defer stop()
	conn := dial()
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(request + "\n")); err != nil {
		t.Fatal(err)
	}
	var answer json.RawMessage
	if err := json.NewDecoder(conn).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return pretty(t, map[string]json.RawMessage{"request": json.RawMessage(request), "answer": answer})
}

func TestControlPutIsQueuedAndSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		a, stop := b.run()
		dial, stopControl := control(t, a)
		conn := dial()
		answer, err := agent.Ask(t.Context(), conn, agent.Request{Op: "put", Messages: []agent.PutMessage{
			{Body: []byte("one"), Properties: map[string]string{"site": "7"}}, {Lane: "bulk", Body: []byte("two")},
		}})
		if err != nil || len(answer.IDs) != 2 {
			t.Fatalf("answer %+v, %v", answer, err)
		}
		b.until(time.Minute, "both", func() bool { return b.hub.Accepted() == 2 })
		b.wantAll(answer.IDs)
		if p := b.hub.Events()[0].Properties; p["site"] != "7" {
			t.Errorf("properties %v", p)
		}
		_ = conn.Close()
		stopControl()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestControlRefuses(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 300<<10)
	rows := map[string]struct {
		m    agent.PutMessage
		want string
	}{
		"lane":     {agent.PutMessage{Lane: "fast"}, `lane "fast"`},
		"reserved": {agent.PutMessage{Properties: map[string]string{"seq": "1"}}, `property "seq" is the agent's own`},
		"size":     {agent.PutMessage{Body: big}, "IoT Hub takes 262144"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			b := outboxMemory()
			_, err := agent.PutAll(t.Context(), b, instant(), []agent.PutMessage{{Body: []byte("fine")}, row.m})
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "message 2") {
				t.Errorf("error %v, want %q", err, row.want)
			}
			if n := b.Stats().Queued[outbox.Normal]; n != 0 {
				t.Errorf("%d messages queued of a refused put", n)
			}
		})
	}
}

func TestWatchdogIsFedWhileLoopsKeepTheirPromises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := agent.NewPulse()
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		fed, complaints := 0, []string{}
		var wg sync.WaitGroup
		wg.Go(func() {
			p.Feed(ctx, 20*time.Second, func(string) { mu.Lock(); fed++; mu.Unlock() },
				func(s string) { mu.Lock(); complaints = append(complaints, s); mu.Unlock() })
		})
		p.Within("link", 30*time.Second)
		time.Sleep(29 * time.Second) // virtual
		mu.Lock()
		if fed != 6 || len(complaints) != 0 {
			t.Errorf("fed %d times, complaints %v; want 6 and none", fed, complaints)
		}
		mu.Unlock()
		time.Sleep(20 * time.Second) // virtual
		mu.Lock()
		if fed != 7 || len(complaints) == 0 || !strings.HasPrefix(complaints[0], "link") {
			t.Errorf("fed %d times, complaints %v; want 7 and the link's", fed, complaints)
		}
		mu.Unlock()
		p.Done("link")
		time.Sleep(11 * time.Second) // virtual
		mu.Lock()
		if fed < 9 {
			t.Errorf("fed %d times after the loop's end", fed)
		}
		mu.Unlock()
		cancel()
		wg.Wait()
	})
}

func TestRouterlessErrorsAreNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.o.Dial = func(context.Context) (*iothub.Client, error) { return nil, errors.New("lookup myhub: no such host") }
		a, stop := b.run()
		time.Sleep(10 * time.Second) // virtual
		if s := a.Status().Link; s.Class != "network" || !strings.Contains(s.Error, "no such host") || s.NextAttempt == nil {
			t.Errorf("link %+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
