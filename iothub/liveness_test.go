package iothub_test

import (
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
)

const (
	told   = 5 * time.Second // the peer has said so
	untold = time.Minute     // it has not
)

// trouble is one way in which a link dies, and what must come of it.
type trouble struct {
	name string
	// begin makes it; lift ends it, after two minutes. Without lift the trouble is over when the client has made the part anew.
	begin, lift func(b *bed)
	// parts are no longer fine, with a cause, within notice.
	parts  []iothub.Part
	notice time.Duration
	// alone: nothing but those parts is made anew, on the same connection.
	alone bool
	// busy: it only shows when something is sent.
	busy bool
}

func troubles() []trouble {
	link := []iothub.Part{iothub.Telemetry}
	command := []iothub.Part{iothub.Command}
	links := []iothub.Part{iothub.Telemetry, iothub.Command}
	connection := []iothub.Part{iothub.Connection}
	hole := func(h hubsim.Hole) func(*bed) { return func(b *bed) { b.SetHole(h) } }
	verdict := func(v func(nth int) hubsim.Verdict) func(*bed) {
		return func(b *bed) { b.OnTelemetry(func(_ string, nth int) hubsim.Verdict { return v(nth) }) }
	}
	return []trouble{
		{name: "half-open connection", begin: hole(hubsim.HoleOut), lift: hole(hubsim.HoleNone), parts: connection, notice: untold},
		{name: "silent peer", begin: hole(hubsim.HoleAll), lift: hole(hubsim.HoleNone), parts: connection, notice: untold},
		{name: "peer that only sends heartbeats", begin: hole(hubsim.HoleIn), lift: hole(hubsim.HoleNone), parts: links, notice: untold},
		{name: "telemetry link deaf", begin: func(b *bed) { b.SetDeaf(events, hubsim.DeafNow) }, parts: link, notice: untold, alone: true},
		{name: "command link deaf", begin: func(b *bed) { b.SetDeaf(commands, hubsim.DeafNow) }, parts: command, notice: untold, alone: true},
		{name: "both links deaf", begin: func(b *bed) { b.SetDeaf("", hubsim.DeafNow) }, parts: links, notice: untold},
		{
			name: "deaf to new links too", begin: func(b *bed) { b.SetDeaf("", hubsim.Deaf) }, lift: func(b *bed) { b.SetDeaf("", hubsim.Hearing) },
			parts: links, notice: untold,
		},
		{
			name: "lost acknowledgement", parts: link, notice: untold, alone: true, busy: true,
			begin: verdict(func(nth int) hubsim.Verdict {
				if nth == 3 {
					return hubsim.Verdict{Outcome: hubsim.Lose}
				}
				return hubsim.Verdict{}
			}),
		},
		{
			name: "every acknowledgement lost", parts: link, notice: untold, busy: true,
			begin: verdict(func(int) hubsim.Verdict { return hubsim.Verdict{Outcome: hubsim.Lose} }), lift: func(b *bed) { b.OnTelemetry(nil) },
		},
		{
			name: "credit that never comes", begin: func(b *bed) { b.SetTelemetryCredit(0) }, lift: func(b *bed) { b.SetTelemetryCredit(1000) },
			parts: link, notice: untold, busy: true,
		},
		{
			name: "session window 0", begin: func(b *bed) { b.SetSessionWindow(0) }, lift: func(b *bed) { b.SetSessionWindow(-1) },
			parts: link, notice: untold, busy: true,
		},
		{name: "session ended", begin: func(b *bed) { b.EndSessions("amqp:internal-error", "moving") }, parts: links, notice: told, alone: true},
		{name: "session ended without a word", begin: func(b *bed) { b.EndSessions("", "") }, parts: links, notice: told, alone: true},
		{name: "session ended for a breach", begin: func(b *bed) { b.EndSessions("amqp:session:window-violation", "x") }, parts: links, notice: told, alone: true},
		{name: "telemetry link detached", begin: func(b *bed) { b.DetachLinks(events, "amqp:link:detach-forced", "Server Busy") }, parts: link, notice: told, alone: true},
		{name: "telemetry link detached without a word", begin: func(b *bed) { b.DetachLinks(events, "", "") }, parts: link, notice: told, alone: true},
		{name: "telemetry link suspended", begin: func(b *bed) { b.SuspendLinks(events, "", "") }, parts: link, notice: told, alone: true},
		{name: "command link detached", begin: func(b *bed) { b.DetachLinks(commands, "amqp:internal-error", "") }, parts: command, notice: told, alone: true},
		{name: "both links detached", begin: func(b *bed) { b.DetachLinks("", "amqp:link:detach-forced", "") }, parts: links, notice: told, alone: true},
		{name: "connection closed", begin: func(b *bed) { b.CloseConnections("amqp:connection:forced", "upgrade") }, parts: connection, notice: told},
		{name: "connection dropped", begin: func(b *bed) { b.DropConnections() }, parts: connection, notice: told},
	}
}

// Each death is noticed and healed in time and loses nothing; what needs not be disturbed is not.
func TestFieldDeadLinkFoundLate(t *testing.T) {
	for _, tr := range troubles() {
		for _, busy := range []bool{false, true} {
			if tr.busy && !busy {
				continue
			}
			name := tr.name + ", idle"
			if busy {
				name = tr.name + ", busy"
			}
			t.Run(name, func(t *testing.T) {
				run(t, nil, func(t *testing.T, b *bed) {
					l := alive(t, b)
					defer l.stop()
					if busy {
						l.busy()
					}
					time.Sleep(100 * time.Second)
					l.suffer(tr)
				})
			})
		}
	}
}

func (l *life) suffer(tr trouble) {
	l.t.Helper()
	start := time.Now()
	first, _ := l.get()
	tr.begin(l.bed)
	l.within(tr.notice, "noticed", func(iothub.Status) bool {
		c, _ := l.get()
		return c != first || lost(first.Status(), tr.parts)
	})
	if c, _ := l.get(); c != first && tr.alone {
		l.t.Errorf("the connection was given up: %v", first.Err())
	}
	limit := tr.notice
	if tr.lift != nil {
		time.Sleep(time.Until(start.Add(2 * time.Minute)))
		tr.lift(l.bed)
		start, limit = time.Now(), untold
	}
	l.within(time.Until(start.Add(limit)), "healed", func(s iothub.Status) bool { return s.Online() && proven(s, start, tr.parts) })
	l.obeys("after")
	l.say()
	l.within(time.Minute, "everything accepted", func(iothub.Status) bool { return l.all() })
	l.whole()
	if n := l.dials.Load(); tr.alone && n != 1 {
		l.t.Errorf("%d connections", n)
	}
	if tr.alone {
		l.undisturbed(tr.parts)
	}
}

// lost reports whether a part is not fine, with a cause.
func lost(s iothub.Status, parts []iothub.Part) bool {
	for _, p := range parts {
		if h := s.Parts[p]; h.Losses > 0 && h.Cause != nil {
			return true
		}
	}
	return false
}

// proven reports whether the parts were proven after a time.
func proven(s iothub.Status, after time.Time, parts []iothub.Part) bool {
	for _, p := range parts {
		if p != iothub.Connection && !s.Parts[p].Proof.After(after) {
			return false
		}
	}
	return true
}

// undisturbed fails the test when other parts than these were lost.
func (l *life) undisturbed(but []iothub.Part) {
	l.t.Helper()
	s := l.status()
	touched := map[iothub.Part]bool{}
	for _, p := range but {
		touched[p] = true
	}
	for p, h := range s.Parts {
		if part := iothub.Part(p); !touched[part] && h.Losses != 0 {
			l.t.Errorf("%s was lost too: %v", part, h.Cause)
		}
	}
}

// An idle device says something every half a minute, which keeps address translators awake, and hardly anything else.
func TestTrap20IdleLinkKeepsTheWayOpen(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		l := alive(t, b)
		defer l.stop()
		time.Sleep(time.Minute)
		l.mu.Lock()
		l.seen = []time.Time{time.Now()}
		l.mu.Unlock()
		time.Sleep(30 * time.Minute)
		l.mu.Lock()
		defer l.mu.Unlock()
		for i := range l.seen[1:] {
			if gap := l.seen[i+1].Sub(l.seen[i]); gap > 31*time.Second {
				t.Errorf("nothing was written for %v", gap)
			}
		}
		if n := len(l.seen); n > 30*2*4 {
			t.Errorf("%d writes in 30 idle minutes", n)
		}
		if n := l.dials.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// A healthy idle device never looks unwell: probes that are answered show in no status.
func TestProbesThatAreAnsweredDoNotShow(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		l := alive(t, b)
		defer l.stop()
		for range 20 * 60 * 5 {
			time.Sleep(200 * time.Millisecond)
			if s := l.status(); !s.Online() {
				t.Fatalf("not online: %+v", s.Parts)
			}
		}
	})
}

// A hub that answers no probes, and is well otherwise, is put up with.
func TestFieldHubThatAnswersNoProbes(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.SetMuteEcho(true)
		l := alive(t, b)
		defer l.stop()
		time.Sleep(10 * time.Minute)
		before := l.dials.Load()
		time.Sleep(time.Hour)
		if n := l.dials.Load() - before; n > 0 {
			t.Errorf("%d connections in an hour", n)
		}
		l.say()
		l.obeys("after an hour")
		l.within(time.Second, "accepted", func(iothub.Status) bool { return l.all() })
	})
}
