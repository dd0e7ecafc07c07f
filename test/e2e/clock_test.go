package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/internal/clock"
)

// dated serves HTTPS as the hub's host, by a clock that is ahead of this machine's, and returns the line of the configuration that says where.
func (h *hub) dated(ahead time.Duration, asked *atomic.Int64) string {
	h.t.Helper()
	config, err := h.TLSConfig()
	if err != nil {
		h.t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(h.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	server := &http.Server{
		TLSConfig: config,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		}),
	}
	go func() { _ = server.ServeTLS(l, "", "") }() // its end is the test's
	h.t.Cleanup(func() { _ = server.Close() })
	return fmt.Sprintf("websocket_port = %d\n", l.Addr().(*net.TCPAddr).Port)
}

// timed is a reading as far as its time goes.
type timed struct {
	Sensor, Clock string
	Time          *time.Time
}

func (h *hub) times() (all []timed) {
	h.t.Helper()
	for _, m := range h.ofKind("") {
		var readings []timed
		if err := json.Unmarshal([]byte(m.body), &readings); err != nil {
			h.t.Fatalf("%v: %s", err, m.body)
		}
		all = append(all, readings...)
	}
	return all
}

// synchronised says whether this machine's kernel vouches for its clock; then nobody else is asked.
func synchronised() bool { return clock.New(nil).Status().State == clock.Synchronised }

// The machine's clock is half an hour behind the hub's. Its readings wait over a restart, and get the hub's time as soon as there is a hub.
func TestTimesByTheHub(t *testing.T) {
	t.Parallel()
	const ahead = 30 * time.Minute
	var asked atomic.Int64
	o := hubsim.Options{StateDir: t.TempDir(), Now: func() time.Time { return time.Now().Add(ahead) }}
	h := openHub(t, o, "127.0.0.1:0")
	addr := h.addr
	h.close()
	outbox := "max_loss = \"500ms\""
	b := gateway(t, h, settings{outbox: outbox, hub: "websocket_port = 1", blocks: simulated("boiler")})
	begun := time.Now()
	d := b.run()
	b.becomes("some messages queued", func(s status) bool { return s.queued() >= 3 })
	d.stop()

	h = openHub(t, o, addr)
	b.configure(settings{outbox: outbox, hub: h.dated(ahead, &asked), blocks: simulated("boiler")})
	d = b.run()
	h.online()
	at := h.Accepted()
	h.until("telemetry of this run", func() bool { return h.Accepted() >= at+5 })
	s := b.status()
	d.stop()
	h.whole()

	off, mark := ahead, "restored"
	if synchronised() {
		off, mark = 0, ""
	}
	last := begun.Add(off - time.Second)
	all := h.times()
	for _, r := range all {
		if r.Time == nil || r.Clock != mark || r.Time.Before(last.Add(-5*time.Millisecond)) || r.Time.After(time.Now().Add(off+time.Second)) {
			t.Fatalf("%+v after %s", r, last)
		}
		last = *r.Time
	}
	if len(all) < 10 {
		t.Errorf("%d readings", len(all))
	}
	if (asked.Load() > 0) == synchronised() || s.ClockTrusted != synchronised() {
		t.Errorf("asked %d times; the status says %v", asked.Load(), s.ClockTrusted)
	}
	b.do(0, "", "status").mentions("clock")
}

// Where nobody vouches for the clock, readings go all the same, with its time, and say so; where the hub agrees, they say nothing.
func TestTimesUnconfirmedAndConfirmed(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	for name, row := range map[string]struct {
		hub  func(h *hub) string
		mark string
	}{
		"nobody to ask": {func(*hub) string { return "websocket_port = 1" }, "unconfirmed"},
		"the hub":       {func(h *hub) string { return h.dated(0, &asked) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, hubsim.Options{})
			b := gateway(t, h, settings{hub: row.hub(h), blocks: simulated("boiler")})
			d := b.run()
			h.until("telemetry", func() bool { return h.Accepted() >= 10 })
			d.stop()
			h.whole()
			all := h.times()
			if last := all[len(all)-1]; last.Clock != row.mark && last.Clock != "restored" && !synchronised() {
				t.Errorf("%+v", last)
			}
			for _, r := range all {
				if r.Time == nil || time.Since(*r.Time).Abs() > patience || synchronised() && r.Clock != "" {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}
