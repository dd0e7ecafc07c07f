package transport

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// away makes a connection, proves it or not, closes it and returns where was dialled.
func away(t *testing.T, d *Dialer, n *network, prove bool) string {
	t.Helper()
	c := dialed(t, d, Endpoint{Host: hubName})
	if prove {
		c.Proven()
	}
	_ = c.Close() // an unproven one is not answered in order
	return n.took()
}

func TestAutoFallsBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		plain func(n *network) func(net.Conn)
		after time.Duration
		falls bool
	}{
		{"refused", func(*network) func(net.Conn) { return nil }, 0, true},
		{"silent", func(*network) func(net.Conn) { return silent }, wayLimit, true},
		{"hangs up", func(*network) func(net.Conn) { return hangsUp }, 0, true},
		{"a stranger", func(n *network) func(net.Conn) { return newNetwork(n.t).echo }, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.put(plainAddr, tt.plain(n))
				n.put(webAddr, n.https(webSocketEcho))
				start := time.Now()
				c, err := New(n.options()).Dial(t.Context(), Endpoint{Host: hubName})
				if took := time.Since(start); took != tt.after {
					t.Errorf("took %s, want %s", took, tt.after)
				}
				if !tt.falls {
					refusedWith(t, err, "tls", "unknown authority")
					if got := n.took(); got != plainAddr {
						t.Errorf("dialled %s", got)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				talk(t, c, 10)
				_ = c.Close() // unproven
			})
		})
	}
}

// hangsUp reads something and goes.
func hangsUp(c net.Conn) {
	_, _ = c.Read(make([]byte, 1<<16))
	_ = c.Close()
}

// A way whose connection was closed before the hub spoke on it is not the first choice of the next dial.
func TestUnprovenWaysTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.put(plainAddr, n.echo)
		n.put(webAddr, n.https(webSocketEcho))
		d := New(n.options())
		var got []string
		for _, prove := range []bool{false, false, false, true, true} {
			got = append(got, away(t, d, n, prove))
		}
		if diff := cmp.Diff([]string{plainAddr, webAddr, plainAddr, webAddr, webAddr}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestMemoryOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := newNetwork(t)
		n.put(webAddr, n.https(webSocketEcho))
		o := n.options()
		o.StateFile = filepath.Join(t.TempDir(), "transport.json")
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		begin := time.Now()
		if got := away(t, New(o), n, true); got != plainAddr+" "+webAddr {
			t.Fatalf("dialled %s", got)
		}
		first := stat(t, o.StateFile)
		d := New(o) // a restart
		for range 3 {
			if got := away(t, d, n, true); got != webAddr {
				t.Errorf("dialled %s, want the remembered way", got)
			}
		}
		if !os.SameFile(first, stat(t, o.StateFile)) {
			t.Error("the file was written again, and nothing had changed")
		}
		if left := names(t, filepath.Dir(o.StateFile)); len(left) != 1 {
			t.Errorf("files: %v", left)
		}

		// Port 5671 is left alone for six hours at least and twelve at most, and then not waited for long.
		n.put(plainAddr, silent)
		time.Sleep(retryAfter - time.Minute)
		if got := away(t, New(o), n, true); got != webAddr {
			t.Errorf("before the time: dialled %s", got)
		}
		time.Sleep(retryAfter + time.Minute)
		start := time.Now()
		if got := away(t, New(o), n, true); got != plainAddr+" "+webAddr || time.Since(start) != retryLimit {
			t.Errorf("dialled %s within %s", got, time.Since(start))
		}
		if got := away(t, New(o), n, true); got != webAddr {
			t.Errorf("after the try: dialled %s", got)
		}
		time.Sleep(2 * retryAfter)
		n.put(plainAddr, n.echo)
		for range 2 {
			if got := away(t, New(o), n, true); got != plainAddr {
				t.Errorf("open again: dialled %s", got)
			}
		}
		if got := strings.Count(log.String(), "the way to the hub changed"); got != 2 {
			t.Errorf("%d changes in the log since %s:\n%s", got, begin, log.String())
		}
	})
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// When the remembered way is blocked in turn, the other one is tried at once.
func TestMemoryIsNoPrison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.put(webAddr, n.https(webSocketEcho))
		d := New(n.options())
		away(t, d, n, true)
		n.put(webAddr, nil)
		n.put(plainAddr, n.echo)
		if got := away(t, d, n, true); got != webAddr+" "+plainAddr {
			t.Errorf("dialled %s", got)
		}
		if got := away(t, d, n, true); got != plainAddr {
			t.Errorf("then dialled %s", got)
		}
	})
}

func TestDamagedMemory(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "garbage": "\x00\x01{", "another shape": `{"websocket":[1]}`, "null": "null",
		"far future": `{"websocket":{"hub.test":"2999-01-01T00:00:00Z"}}`, "too large": strings.Repeat("x", maxState+1),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.put(plainAddr, n.echo)
				o := n.options()
				o.StateFile = filepath.Join(t.TempDir(), "transport.json")
				write(t, o.StateFile, []byte(text))
				if got := away(t, New(o), n, true); got != plainAddr {
					t.Errorf("dialled %s", got)
				}
			})
		})
	}
	t.Run("a folder", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t)
			n.put(webAddr, n.https(webSocketEcho))
			o := n.options()
			o.StateFile = t.TempDir()
			if got := away(t, New(o), n, true); got != plainAddr+" "+webAddr {
				t.Errorf("dialled %s", got)
			}
		})
	})
}

func TestMemoryIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "transport.json")
	m := newMemory(path, time.Now, slog.New(slog.DiscardHandler))
	for i := range 3 * maxHosts {
		host := strings.Repeat("h", i+1)
		m.failed(host, AMQPS)
		m.worked(host, WebSocket)
		m.failed(host+".other", AMQPS)
	}
	if len(m.retry) != maxHosts || len(m.broken) > maxHosts {
		t.Errorf("%d hosts remembered, %d broken", len(m.retry), len(m.broken))
	}
	if again := newMemory(path, time.Now, slog.New(slog.DiscardHandler)); len(again.retry) != maxHosts {
		t.Errorf("%d hosts in the file", len(again.retry))
	}
}

func FuzzMemory(f *testing.F) {
	f.Add([]byte(`{"websocket":{"hub.test":"2026-06-01T00:00:00Z"}}`))
	f.Add([]byte(`{"websocket":{"":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "transport.json")
		write(t, path, data)
		m := newMemory(path, time.Now, slog.New(slog.DiscardHandler))
		m.first(hubName)
		m.worked(hubName, WebSocket)
		if again := newMemory(path, time.Now, slog.New(slog.DiscardHandler)); again.retry[hubName].IsZero() {
			t.Error("what worked is not in the file")
		}
	})
}
