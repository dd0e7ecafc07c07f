package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"iotagent/internal/simctl"
)

// world is a hub, an agent, what loads them and what watches them.
type world struct {
	t       *testing.T
	seed    uint64
	long    bool
	bin     string
	dir     string
	way     way
	port    int // for AMQP, and
	https   int // for WebSocket
	started time.Time

	hub, agent *unit
	judge      *judge
	watch      watch
	load       load

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newWorld(t *testing.T, seed uint64, long bool, bin string) *world {
	t.Helper()
	dir, err := lasting(seed)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, seed: seed, long: long, bin: bin, dir: dir, judge: newJudge(), started: time.Now()}
	w.ctx, w.cancel = context.WithCancel(t.Context())
	w.way = wayOf(seed)
	w.judge.anyOrder = w.way.order == "live-first"
	if w.port, err = freePort(w.ctx); err != nil {
		t.Fatal(err)
	}
	if w.https, err = freePort(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.hub = &unit{path: filepath.Join(bin, "hubsim"), rest: 0, ended: w.hubEnded, log: w.open("hub.log"), args: func(nth int) []string {
		return []string{
			"--listen", fmt.Sprintf("127.0.0.1:%d", w.port), "--https", fmt.Sprintf("127.0.0.1:%d", w.https), "--state", w.path("hub"), "--device", device,
			"--events", w.path(fmt.Sprintf("events-%d.jsonl", nth)), "--ready-file", w.path("ready"), "--verbose",
		}
	}}
	w.agent = &unit{path: filepath.Join(bin, "iotagent"), rest: 2 * time.Second, ended: w.agentEnded, log: w.open("agent.log"), args: func(int) []string {
		return []string{"--config", w.path("iotagent.toml"), "run"}
	}}
	return w
}

// way is how a world's agent is set up; the seed chooses it.
type way struct{ transport, order string }

func wayOf(seed uint64) way {
	ways := []way{{"auto", "live-first"}, {"amqps", "oldest-first"}, {"websocket", "oldest-first"}}
	return ways[seed%uint64(len(ways))]
}

// target is where redirects lead: back to the hub, by the way that the agent goes.
func (w *world) target() string {
	if w.way.transport == "websocket" {
		return fmt.Sprintf("localhost:%d", w.https)
	}
	return fmt.Sprintf("localhost:%d", w.port)
}

// lasting makes a folder that outlives the test when it fails.
func lasting(seed uint64) (string, error) { return os.MkdirTemp("", fmt.Sprintf("chaos-%d-", seed)) }

// freePort finds a port below those that the system gives to connections, so that no such connection is in the way when the hub comes back.
func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	for range 100 {
		port := 20000 + rand.IntN(10000)
		l, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) open(name string) *os.File {
	f, err := os.OpenFile(w.path(name), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// say prints a line of the run.
func (w *world) say(format string, args ...any) {
	fmt.Printf("%s seed %d: %s\n", time.Now().Format("15:04:05.000"), w.seed, fmt.Sprintf(format, args...))
}

// up starts everything and returns when telemetry flows.
func (w *world) up() {
	if err := w.hub.start(); err != nil {
		w.t.Fatal(err)
	}
	w.await("the hub", func() bool { return readable(w.path("ready")) })
	w.configure()
	if err := w.agent.start(); err != nil {
		w.t.Fatal(err)
	}
	w.wg.Go(w.tail)
	w.wg.Go(w.watchAgent)
	w.wg.Go(w.watchHub)
	w.wg.Go(w.measure)
	w.await("telemetry", func() bool { n, _ := w.judge.counts(); return n > 0 })
	if err := w.order(normal()); err != nil {
		w.t.Fatal(err)
	}
	w.load.begin(w)
}

func readable(path string) bool {
	text, err := os.ReadFile(path)
	return err == nil && len(text) > 0
}

func (w *world) await(what string, cond func() bool) {
	w.t.Helper()
	if !w.within(time.Minute, cond) {
		w.t.Fatalf("seed %d: waited a minute in vain for %s; see %s", w.seed, what, w.dir)
	}
}

// within waits until cond holds, at most d.
func (w *world) within(d time.Duration, cond func() bool) bool {
	end := time.Now().Add(d)
	for !cond() {
		if time.Now().After(end) || w.ctx.Err() != nil {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return true
}

// configure writes the agent's file: many sensors, small messages, so that there is always something in flight.
func (w *world) configure() {
	var b strings.Builder
	fmt.Fprintf(&b, "[hub]\nconnection_string_file = %q\nca_file = %q\n", w.path("hub/devices/"+device+".connection-string"), w.path("hub/ca.pem"))
	if !w.long {
		b.WriteString("keepalive = \"5s\"\n")
	}
	fmt.Fprintf(&b, "transport = %q\nwebsocket_port = %d\n", w.way.transport, w.https)
	fmt.Fprintf(&b, "[agent]\nstate_dir = %q\nlog_level = \"debug\"\n[outbox]\nmax_loss = \"2s\"\norder = %q\n", w.path("state"), w.way.order)
	b.WriteString("[telemetry]\nflush_interval = \"100ms\"\nmax_message_bytes = 512\n")
	for i := range 12 {
		fmt.Fprintf(&b, "[[sensor]]\nname = \"s%d\"\ntype = \"sim\"\ninterval = \"100ms\"\nlane = %q\n", i, []string{"normal", "bulk"}[i%2])
	}
	fmt.Fprintf(&b, "[[command]]\nname = \"count\"\ntype = \"exec\"\npath = \"/bin/sh\"\nargs = [\"-c\", %q]\n", "IFS= read -r l; echo \"$l\" >> "+w.path("effects"))
	if err := os.WriteFile(w.path("iotagent.toml"), []byte(b.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// order sends orders to the hub.
func (w *world) order(all []simctl.Request) error {
	for i := range all {
		if _, err := simctl.Ask(w.ctx, w.path("hub/control.sock"), &all[i]); err != nil {
			return fmt.Errorf("%s: %w", all[i].Action, err)
		}
	}
	return nil
}

// begin makes a trouble happen.
func (w *world) begin(k *trouble) error {
	if k.signal == nil {
		return w.order(k.on)
	}
	u := w.unit(k)
	switch s := k.signal.number; {
	case s == syscall.SIGSTOP:
		return u.signal(s)
	case k.signal.agent && s == syscall.SIGKILL:
		w.judge.kill(w.watch.epoch(u.pid()))
		return u.end(s, false)
	case k.signal.agent:
		if v := w.watch.agent(); v.pid == u.pid() {
			w.judge.stopped(v.epoch, v.put)
		}
		return u.end(s, false)
	default:
		return u.end(s, true)
	}
}

func (w *world) unit(k *trouble) *unit {
	if k.signal.agent {
		return w.agent
	}
	return w.hub
}

// lift ends a trouble.
func (w *world) lift(k *trouble) error {
	switch {
	case k.instant():
		return nil
	case k.signal == nil:
		return w.order(append(slices.Clone(k.off), normal()...))
	case k.signal.number == syscall.SIGSTOP:
		return w.unit(k).signal(syscall.SIGCONT)
	}
	_ = os.Remove(w.path("ready")) // to see the new one
	w.unit(k).up()
	w.await("the hub to come back", func() bool { return readable(w.path("ready")) })
	return w.order(normal())
}

func (w *world) hubEnded(state *os.ProcessState, wanted bool) {
	if !wanted {
		w.judge.note("hubsim ended by itself: %v", state)
	}
}

// agentEnded finds fault with an end that nobody asked for, and with one that was asked for and did not go in order. A process that finds the
// outbox taken by an `iotagent send`, which works there while the daemon is down, ends and is started again.
func (w *world) agentEnded(state *os.ProcessState, wanted bool) {
	text := tailOf(w.path("agent.log"), 4000)
	killed := state.Sys().(syscall.WaitStatus).Signaled()
	switch {
	case wanted && (killed || state.ExitCode() == 0):
	case !wanted && strings.Contains(text, "another iotagent works in"):
	default:
		w.judge.note("iotagent ended with %v (asked to: %v):\n%s", state, wanted, text)
	}
}

func tailOf(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(text) > n {
		text = text[bytes.IndexByte(text[len(text)-n:], '\n')+len(text)-n+1:]
	}
	return string(text)
}
