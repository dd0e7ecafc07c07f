package c2d

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/internal/quantity"
)

// fake is a handler whose body says what it does.
type fake struct {
	idempotent bool
	run        func(ctx context.Context, args json.RawMessage) Result // nil: the body's "status"
	check      func(args json.RawMessage) error

	mu     sync.Mutex
	ran    []string
	closed int
}

type fakeArgs struct {
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Tag    string `json:"tag"`
}

func (f *fake) Check(args json.RawMessage) error {
	if f.check != nil {
		return f.check(args)
	}
	return nil
}

func (f *fake) Run(ctx context.Context, args json.RawMessage) Result {
	f.mu.Lock()
	f.ran = append(f.ran, string(args))
	f.mu.Unlock()
	if f.run != nil {
		return f.run(ctx, args)
	}
	a := fakeArgs{Status: Done}
	if args != nil {
		if err := json.Unmarshal(args, &a); err != nil {
			panic(err)
		}
	}
	return Result{Status: a.Status, Detail: a.Detail}
}

func (f *fake) Idempotent() bool         { return f.idempotent }
func (f *fake) State() map[string]string { return map[string]string{"kind": "fake"} }

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return nil
}

func (f *fake) runs() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ran)
}

// reply is how a delivery was settled.
type reply struct {
	S      Settlement
	Reason string
}

// bench is a router with what stands around it.
type bench struct {
	t       *testing.T
	path    string
	ledger  *Ledger
	router  *Router
	o       Options
	reports chan Report

	mu        sync.Mutex
	untrusted bool
	now       func() time.Time
	reportErr error
}

// newBench opens a ledger at path ("" for a new one) and a router over the handlers; opts may change the options.
func newBench(t *testing.T, path string, handlers map[string]*fake, opts func(*Options)) *bench {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "commands.db")
	}
	l, err := OpenLedger(path, &LedgerOptions{Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, path: path, ledger: l, reports: make(chan Report, 64), now: time.Now}
	b.o = Options{
		Ledger: l, Logger: testLog(t),
		Now:          func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now() },
		ClockTrusted: func() bool { b.mu.Lock(); defer b.mu.Unlock(); return !b.untrusted },
		Report: func(_ context.Context, r Report) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.reportErr != nil {
				return b.reportErr
			}
			b.reports <- r
			return nil
		},
	}
	for name, h := range handlers {
		c := Common{Name: name, Type: "fake", Timeout: quantity.Seconds(30), SettleWithin: quantity.Seconds(10)}
		b.o.Handlers = append(b.o.Handlers, NamedHandler{c, h})
	}
	if opts != nil {
		opts(&b.o)
	}
	b.router = NewRouter(&b.o)
	return b
}

func (b *bench) set(fn func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fn()
}

// close ends router and ledger as the agent does.
func (b *bench) close() {
	b.t.Helper()
	if err := b.router.Close(b.t.Context()); err != nil {
		b.t.Error(err)
	}
	if err := b.ledger.Close(); err != nil {
		b.t.Error(err)
	}
}

// send delivers a command; its settlement comes on the channel, a second one fails the test.
func (b *bench) send(c Command) <-chan reply {
	b.t.Helper()
	ch := make(chan reply, 1)
	var once sync.Once
	b.router.Deliver(b.t.Context(), c, func(_ context.Context, s Settlement, reason string) error {
		first := false
		once.Do(func() { first = true; ch <- reply{s, reason} })
		if !first {
			b.t.Errorf("command %s settled twice, now %v %q", c.ID, s, reason)
			return errors.New("settled before")
		}
		return nil
	})
	return ch
}

func cmd(id, name, body string) Command {
	return Command{ID: id, MessageID: strings.TrimPrefix(id, "s:"), Name: name, Body: []byte(body)}
}

// want fails unless the reply has the settlement and its reason contains the words.
func want(t *testing.T, got reply, s Settlement, words ...string) {
	t.Helper()
	if got.S != s {
		t.Errorf("settled %d (%q), want %d", got.S, got.Reason, s)
	}
	for _, w := range words {
		if !strings.Contains(got.Reason, w) {
			t.Errorf("reason %q does not say %q", got.Reason, w)
		}
	}
	if s != Reject && got.Reason != "" {
		t.Errorf("settlement %d carries the reason %q", s, got.Reason)
	}
}

// turnFd puts another open file under the ledger's descriptor: read-only makes every write fail, as a broken card does.
func turnFd(t *testing.T, path string, flag int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no /proc/self/fd to find the ledger's descriptor in: %v", err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || to != path {
			continue
		}
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(unix.Dup3(int(f.Fd()), fd, unix.O_CLOEXEC), f.Close()); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no descriptor of %s is open", path)
}

// testLog writes to the test's own log until the test has ended.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
