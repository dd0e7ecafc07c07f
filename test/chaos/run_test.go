package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// measured is what one trouble did.
type measured struct {
	name string
	// noticed is how long it took the status to say so, negative when it never did.
	noticed time.Duration
	// healed is from the end of the trouble (or its moment) to the first new message at the hub with both links there and the status online,
	// caughtUp to the acceptance of all that had waited by then.
	healed, caughtUp time.Duration
	again            int
}

// noticeLimit is how long a silent trouble stays in a long run before it counts as never noticed.
const noticeLimit = 100 * time.Second

// run does the steps of the schedule until the end, and returns what they did. An error means that the link did not come back.
func (w *world) run(end time.Time, kinds []trouble) ([]measured, error) {
	var all []measured
	for s := range schedule(w.seed, kinds) {
		if time.Now().Add(s.hold).After(end) {
			break
		}
		m, err := w.step(&s)
		if err != nil {
			return all, fmt.Errorf("step %d, %s: %w", s.nth, s.title(), err)
		}
		all = append(all, m)
		w.quiet(s.pause)
	}
	return all, nil
}

// step lets one trouble happen and waits until all is well.
func (w *world) step(s *step) (measured, error) {
	m := measured{name: s.name, noticed: -1}
	if s.second != nil {
		m.name = "two troubles at once"
	}
	w.say("%d: %s, for %s", s.nth, s.title(), s.hold)
	onset, last := time.Now(), w.load.sent()
	span := w.judge.begin(onset, s.trouble, s.second)
	if err := w.begin(s.trouble); err != nil {
		return m, err
	}
	since := onset
	if s.signal == nil {
		since = time.Now() // the orders are carried out
	}
	if !s.instant() {
		if err := w.hold(s, onset, &m); err != nil {
			return m, err
		}
		since = time.Now()
		if err := w.lift(s.trouble); err != nil {
			return m, err
		}
	}
	if err := w.heal(s, onset, since, last, &m); err != nil {
		return m, err
	}
	m.again = w.judge.end(span, time.Now())
	noticed := "not noticed"
	if m.noticed >= 0 {
		noticed = fmt.Sprintf("noticed after %.1f s", m.noticed.Seconds())
	}
	w.say("%d: %s, healed after %.1f s, caught up after %.1f s, %d again", s.nth, noticed, m.healed.Seconds(), m.caughtUp.Seconds(), m.again)
	return m, w.order(normal())
}

// hold waits while the trouble lasts: as long as the schedule says or, for a silent one in a long run, until the agent has noticed.
func (w *world) hold(s *step, onset time.Time, m *measured) error {
	second := s.second
	for {
		passed := time.Since(onset)
		w.notice(onset, m)
		if second != nil && passed >= s.hold/2 {
			if err := w.begin(second); err != nil {
				return err
			}
			second = nil
		}
		switch {
		case w.ctx.Err() != nil:
			return w.ctx.Err()
		case w.long && s.silent && s.second == nil:
			if m.noticed >= 0 && passed >= s.least {
				return nil
			}
			if passed > noticeLimit {
				w.judge.note("%s: not noticed within %s", s.name, noticeLimit)
				return nil
			}
		case passed >= s.hold:
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// notice takes the time at which the status says that the link is not well.
func (w *world) notice(onset time.Time, m *measured) {
	if v := w.watch.agent(); m.noticed < 0 && v.err == nil && !v.online && v.at.After(onset) {
		m.noticed = v.at.Sub(onset)
	}
}

// heal waits until telemetry flows again with both links there and the status online, and then until nothing waits that is older. Where it is
// about commands, one that was sent after the last before it has to take effect.
func (w *world) heal(s *step, onset, since time.Time, last int, m *measured) error {
	var v view
	well := w.within(s.limit(), func() bool {
		w.notice(onset, m)
		links, at := w.watch.atHub()
		v = w.watch.agent()
		return v.err == nil && v.online && v.at.After(since) && links == 2 && at.After(since) && w.judge.freshSince(since) &&
			(!s.command || w.load.effectAfter(w, last))
	})
	if !well {
		return fmt.Errorf("not healed within %s", s.limit())
	}
	m.healed = time.Since(since)
	back := time.Now()
	if !w.within(s.limit(), func() bool {
		v = w.watch.agent()
		return v.err == nil && (v.oldest.IsZero() || v.oldest.After(back))
	}) {
		return fmt.Errorf("healed, but what waited since %s was not sent within %s", clock(v.oldest), s.limit())
	}
	m.caughtUp = time.Since(since)
	return nil
}

// quiet lets nothing happen for a while, and finds fault with a link that is lost all the same.
func (w *world) quiet(d time.Duration) {
	before := w.watch.agent()
	w.within(d, func() bool { return false })
	after := w.watch.agent()
	if before.err == nil && after.err == nil && before.pid == after.pid && after.losses != before.losses {
		w.judge.note("the link was lost between %s and %s, and nothing had happened: %s", clock(before.at), clock(after.at), after.text)
	}
}

// conclude ends the load, waits until commands and messages are through, stops everything and lets the judge speak.
func (w *world) conclude() []string {
	w.load.end()
	w.commandsDone()
	if v := w.watch.agent(); v.err == nil {
		w.judge.stopped(v.epoch, v.put)
	}
	if err := w.agent.finish(syscall.SIGTERM); err != nil {
		w.judge.note("stop: %v", err)
	}
	if out, err := w.iotagent("run", "--until-drained"); err != nil {
		w.judge.note("iotagent run --until-drained: %v\n%s", err, out)
	}
	dead := w.deadLetters()
	if err := w.hub.finish(syscall.SIGTERM); err != nil {
		w.judge.note("stop: %v", err)
	}
	w.cancel()
	w.wg.Wait() // tail reads to the end
	w.checkLogs()
	w.checkMemory()
	fresh, again := w.judge.counts()
	w.say("%d messages, %d of them again, %d dead letters, %d lines confirmed", fresh, again, len(dead), len(w.judge.lines))
	return w.judge.finish(dead)
}

func (w *world) iotagent(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(w.bin, "iotagent"), append([]string{"--config", w.path("iotagent.toml")}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return out.String() + errs.String(), err
}

// deadLetters returns the ids that the hub refused for good.
func (w *world) deadLetters() []string {
	out, err := w.iotagent("queue", "list", "--dead", "--json", "--limit", "0")
	if err != nil {
		w.judge.note("iotagent queue list: %v\n%s", err, out)
	}
	var ids []string
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
		var e struct {
			ID string `json:"message_id"`
		}
		if json.Unmarshal(s.Bytes(), &e) == nil && e.ID != "" {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// commandsDone waits until the commands that the hub took have had their effects, and finds fault with those that had two.
func (w *world) commandsDone() {
	var times map[string]int
	var took, without int
	var err error
	w.within(70*time.Second, func() bool {
		times, took, without, err = w.load.effects(w)
		return err == nil && without == 0
	})
	if err != nil {
		w.judge.note("commands: %v", err)
	}
	for _, body := range sortedKeys(times) {
		if times[body] > 1 {
			w.judge.note("command %s took effect %d times", body, times[body])
		}
	}
	if kills := len(w.judge.killed) + w.judge.blind; without > kills {
		w.judge.note("%d of %d commands took no effect, and iotagent was killed %d times only", without, took, kills)
	}
	w.say("%d commands, %d took effect, %d that the hub took did not", len(w.load.commands), len(times), without)
}
