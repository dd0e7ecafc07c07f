package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"iotagent/internal/clock"
)

// AskHub returns the hub's time at the moment of the return, and how far it may be off; iothub.HubClock is one.
type AskHub func(ctx context.Context) (at time.Time, within time.Duration, err error)

const (
	// clockPatience is how long messages wait, once in a boot, for somebody to vouch for the wall clock.
	clockPatience = 5 * time.Second
	// freshBoot is for how long after a boot the time service may be expected to find its way.
	freshBoot = 5 * time.Minute
	// While the kernel does not vouch for the wall clock the hub is asked with each connection, and when the clock was set, not more often than askGap; then
	// askTimes in a row, because each answer leaves less open, until that is askEnough; and again after askAgain, or askSoon where it failed.
	askGap    = 30 * time.Second
	askTimes  = 4
	askEnough = 300 * time.Millisecond
	askAgain  = 30 * time.Minute
	askSoon   = 10 * time.Minute
	// How often the clock is looked at while somebody vouches for it, and while nobody does.
	lookEvery     = 10 * time.Second
	lookEveryThen = time.Second
)

// timekeeper is the goroutine that finds out what time it is: it waits for the kernel's word, asks the hub while there is none, keeps the anchor of this boot,
// and says what changes.
type timekeeper struct {
	clock *clock.Clock
	ask   AskHub // nil: nobody to ask
	log   *slog.Logger
	// known is closed when this boot has an anchor, so that slots can be filled.
	known chan struct{}
	// dialling is signalled before the hub is dialled, wanted when messages could go.
	dialling, wanted chan struct{}

	// What follows is the loop's own, up to mu.
	told   clock.State
	steps  uint64
	unkept bool
	asking bool
	times  int       // the hub was asked in a row
	next   time.Time // the hub is asked
	asked  time.Time // it was asked

	mu      sync.Mutex
	failure error         // why the hub could not be asked last
	waiting time.Time     // messages wait since; zero when they do not
	waited  time.Duration // they did, in earlier connections
}

func newTimekeeper(o *Options) *timekeeper {
	return &timekeeper{
		clock: o.Clock, ask: o.HubTime, log: o.Logger, known: make(chan struct{}),
		dialling: make(chan struct{}, 1), wanted: make(chan struct{}, 1),
	}
}

// dial says that the hub is about to be dialled.
func (k *timekeeper) dial() { signal(k.dialling) }

// await says that there is a connection, and waits until the times of messages can be told, clockPatience at most; less where earlier connections ended in it.
func (k *timekeeper) await(ctx context.Context) {
	k.wait(true)
	defer k.wait(false)
	signal(k.wanted)
	select {
	case <-k.known:
	case <-ctx.Done():
	}
}

// wait takes note that messages could go from now on, or not any more.
func (k *timekeeper) wait(begins bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if begins {
		k.waiting = time.Now()
		return
	}
	k.waited += time.Since(k.waiting)
	k.waiting = time.Time{}
}

// patience is how long messages have waited; they do not wait while there is no connection, so that nothing is decided for them.
func (k *timekeeper) patience() (spent time.Duration, waiting bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.waiting.IsZero() {
		return 0, false
	}
	return k.waited + time.Since(k.waiting), true
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run works until ctx is done.
func (k *timekeeper) run(ctx context.Context) {
	answers := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		s := k.look()
		if k.shouldAsk(&s) {
			k.asking, k.asked = true, time.Now()
			wg.Go(func() { answers <- k.question(ctx) })
		}
		k.decide(&s)
		timer.Reset(k.pause(&s))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-k.dialling:
			k.plan(k.asked.Add(askGap))
		case <-k.wanted:
			k.connected()
		case err := <-answers:
			k.answered(err)
		}
	}
}

// look takes note of what the clock does, keeps what is known and says what changed.
func (k *timekeeper) look() clock.Status {
	anchored, err := k.clock.Keep()
	if err != nil && !k.unkept {
		k.log.Warn("what is known of the clock is not kept", "error", err)
	}
	k.unkept = err != nil
	if anchored {
		k.settled()
	}
	s := k.clock.Status()
	if s.Steps != k.steps {
		k.log.Warn("the wall clock was set", "by", s.Step.By.Round(time.Millisecond))
		k.steps = s.Steps
		k.plan(k.asked.Add(askGap))
	}
	if s.State != k.told {
		k.tell(&s)
		k.told = s.State
	}
	return s
}

func (k *timekeeper) tell(s *clock.Status) {
	say := k.log.Info
	if s.State == clock.Implausible || k.told != "" && !s.Trusted {
		say = k.log.Warn
	}
	args := []any{"state", string(s.State), "time", s.Wall.Format(timeLayout)}
	if s.Asked != nil {
		args = append(args, "ahead_of_hub", s.Ahead.Round(time.Millisecond))
	}
	if hint := ClockHint(s.State); hint != "" {
		args = append(args, "hint", hint)
	}
	say("clock", args...)
}

// settled lets messages go.
func (k *timekeeper) settled() {
	select {
	case <-k.known:
	default:
		close(k.known)
	}
}

// plan has the hub asked at that time, unless it is earlier anyhow.
func (k *timekeeper) plan(at time.Time) {
	if k.next.IsZero() || at.Before(k.next) {
		k.next = at
	}
}

// connected asks the hub, once for each connection, as far as it did not answer just now.
func (k *timekeeper) connected() {
	at := k.asked.Add(askGap)
	if k.lastFailure() != nil {
		at = time.Now()
		k.fail(nil) // that was before there was a connection
	}
	k.plan(at)
}

func (k *timekeeper) shouldAsk(s *clock.Status) bool {
	return k.ask != nil && !k.asking && s.State != clock.Synchronised && !k.next.IsZero() && !time.Now().Before(k.next)
}

// question asks the hub.
func (k *timekeeper) question(ctx context.Context) error {
	at, within, err := k.ask(ctx)
	if err == nil {
		k.clock.Compare(at, within)
	}
	return err
}

func (k *timekeeper) answered(err error) {
	k.asking = false
	k.fail(err)
	wait := askAgain
	k.times++
	switch {
	case err != nil:
		wait = askSoon
		k.log.Debug("the hub could not be asked for its time", "error", err)
	case k.times < askTimes && k.clock.Status().Within > askEnough:
		wait = askGap
	default:
		k.times = 0
	}
	k.next = time.Now().Add(wait)
}

func (k *timekeeper) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failure = err
}

func (k *timekeeper) lastFailure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failure
}

// decide lets messages go though nobody vouches for the wall clock, when that cannot be expected any more.
func (k *timekeeper) decide(s *clock.Status) {
	select {
	case <-k.known:
		return
	default:
	}
	spent, waiting := k.patience()
	hopeless := !k.asking && s.Mono >= freshBoot && (k.ask == nil || k.lastFailure() != nil)
	if !waiting || !hopeless && spent < clockPatience {
		return
	}
	k.log.Warn("nobody vouches for the wall clock; readings up to now are sent with its time, marked so", "time", s.Wall.Format(timeLayout), "hint", ClockHint(s.State))
	if err := k.clock.Assume(); err != nil && !k.unkept {
		k.log.Warn("what is known of the clock is not kept", "error", err)
		k.unkept = true
	}
	k.settled()
}

// pause is how long the clock may be left alone.
func (k *timekeeper) pause(s *clock.Status) time.Duration {
	d := lookEvery
	if !s.Trusted {
		d = lookEveryThen
	}
	if k.ask != nil && !k.asking && !k.next.IsZero() && s.State != clock.Synchronised {
		d = min(d, max(time.Until(k.next), 0))
	}
	return max(d, time.Millisecond)
}

// ClockHint says what a person can do about a clock, "" when nothing needs to be done.
func ClockHint(s clock.State) string {
	switch s {
	case clock.Synchronised, clock.Confirmed:
		return ""
	case clock.Implausible:
		return "timedatectl set-ntp true turns the time service on, timedatectl timesync-status shows why it has no time; or set the clock: timedatectl set-time"
	case clock.Restored, clock.Uncertain:
	}
	return "timedatectl set-ntp true turns the time service on, timedatectl timesync-status shows why it has no time"
}
