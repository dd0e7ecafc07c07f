// Package agent is the supervisor: it samples, packs, sends and carries out commands, and stops in stages so that nothing
// taken is left behind. It owns every goroutine (ARCHITECTURE.md draws them).
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"iotagent/c2d"
	"iotagent/internal/clock"
	"iotagent/iothub"
	"iotagent/outbox"
	"iotagent/sensors"
)

// Sampler takes the readings of one sensor; *sensors.Sampler is one.
type Sampler interface {
	Name() string
	// Run gives each reading to emit until ctx is done and the sensor is halted.
	Run(ctx context.Context, emit func(sensors.Reading)) error
	// Once takes one reading and says how long it took.
	Once(ctx context.Context) (sensors.Reading, time.Duration)
	Status() sensors.Status
}

// Source is a sampler and the lane of its messages.
type Source struct {
	Sampler
	Lane outbox.Lane
}

// Commands is the command router; *c2d.Router is one.
type Commands interface {
	Router
	// Recover settles what an earlier process left behind; it is called before the first Deliver.
	Recover(ctx context.Context) error
	// Close waits for running handlers until ctx is done, ends them and brings their outputs to the safe state.
	Close(ctx context.Context) error
	Status() c2d.Snapshot
}

// Options says what an agent works with. Queue and Dial are required.
type Options struct {
	// Queue is the outbox. The caller closes it after Run.
	Queue outbox.Queue
	// Admin is the same outbox for those who look into it through the control socket; nil answers them that it is not available.
	Admin outbox.Admin
	// Dial makes one connection to the hub.
	Dial func(ctx context.Context) (*iothub.Client, error)
	// Sources are the sensors; none is allowed.
	Sources []Source
	// Commands may be nil: then none are taken.
	Commands Commands
	// Pack says when messages are sealed.
	Pack PackOptions
	// Uplink says how they are sent.
	Uplink UplinkOptions
	// Clock stamps; nil means the machine's.
	Clock *clock.Clock
	// HubTime asks the hub what time it is, while the kernel does not vouch for the wall clock; nil asks nobody.
	HubTime AskHub
	// Drain is how long a stop waits for the hub to take what is queued; default 10 s. What is left goes out after the next start.
	Drain time.Duration
	// Notify tells the service manager (sd_notify); nil tells nobody.
	Notify func(state string)
	// Watchdog is the interval the service manager expects to be fed in; 0 for never.
	Watchdog time.Duration
	// MeterFile keeps the day's count of metered messages over restarts; "" keeps it in memory only.
	MeterFile string
	// Version is shown by the status.
	Version string
	// Logger defaults to a discarding one.
	Logger *slog.Logger
}

// Agent is one daemon's work. Make it with New; Run, Once and Drain are alternatives, one call in its life.
type Agent struct {
	o       Options
	link    *link
	packer  *packer
	pulse   *pulse
	written *written
	log     *slog.Logger
	started time.Time

	// progress is signalled at each settled message.
	progress      chan struct{}
	stopReceiving context.CancelFunc
}

// New returns an agent that does nothing yet.
func New(o *Options) *Agent {
	a := &Agent{o: *o, pulse: newPulse(), started: time.Now(), progress: make(chan struct{}, 1)}
	if a.o.Clock == nil {
		a.o.Clock = clock.New(nil)
	}
	if a.o.Drain == 0 {
		a.o.Drain = 10 * time.Second
	}
	if a.o.Notify == nil {
		a.o.Notify = func(string) {}
	}
	if a.o.Logger == nil {
		a.o.Logger = slog.New(slog.DiscardHandler)
	}
	a.log = a.o.Logger
	a.written = &written{start: a.o.Clock.Mono()}
	a.packer = newPacker(a.o.Queue, a.o.Clock, a.log, a.pulse, a.o.Pack)
	a.link = newLink(&a.o, a.pulse, a.progress)
	return a
}

// ErrNotDrained says that the hub had not taken everything when the time was over. Nothing is lost by it.
var ErrNotDrained = errors.New("not everything reached the hub")

// Run works until ctx is done and then stops in stages: the sensors, the commands, what is queued, the connection. Its error says which stage left something behind; what was queued
// is safe in the outbox in any case.
func (a *Agent) Run(ctx context.Context) error {
	recovered := a.recoverCommands(ctx)
	stopLink := a.startLink(ctx, a.o.Commands)
	defer stopLink()
	stopPacker := a.startPacker(ctx)
	samplers := a.startSamplers(ctx)
	a.o.Notify("READY=1")
	a.log.Info("running", "sensors", len(a.o.Sources))

	feeding := a.startWatchdog(ctx)
	defer feeding()
	defer a.startWatch(ctx)()
	<-ctx.Done()
	a.o.Notify("STOPPING=1")
	a.log.Info("stopping")
	return errors.Join(recovered, a.stop(ctx, samplers, stopPacker))
}

// stop is the staged end of Run, up to the link, which Run's defer closes.
func (a *Agent) stop(ctx context.Context, samplers func() error, stopPacker func()) error {
	a.stopReceiving()
	if err := samplers(); err != nil { // a sensor that hangs; what it gave before is packed, so nothing of the stop has failed
		a.log.Warn("sensor left as it is", "error", err)
	}
	stopPacker()
	dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.o.Drain)
	defer cancel()
	var err error
	if a.o.Commands != nil {
		err = a.o.Commands.Close(dctx)
	}
	if a.link.reached() {
		if derr := a.drained(dctx, a.link.reached); derr != nil {
			a.log.Info("stopping with messages queued; they go out after the next start", "queued", a.queued())
		}
	}
	return err
}

// Drain sends what is queued, takes no readings and no commands, and returns nil when the outbox is empty. It wraps ErrNotDrained when ctx
// is done before that.
func (a *Agent) Drain(ctx context.Context) error {
	defer a.startLink(ctx, nil)()
	return a.drained(ctx, func() bool { return true })
}

// Once reads every sensor once, all at the same time, and returns when the hub has taken everything or ctx is done, wrapping
// ErrNotDrained then.
func (a *Agent) Once(ctx context.Context) error {
	defer a.startLink(ctx, nil)()
	stopPacker := a.startPacker(ctx)
	var wg sync.WaitGroup
	for _, s := range a.o.Sources {
		wg.Go(func() {
			r, _ := s.Once(ctx)
			a.emit(s.Lane, r)
		})
	}
	wg.Wait()
	stopPacker()
	return a.drained(ctx, func() bool { return true })
}

func (a *Agent) recoverCommands(ctx context.Context) error {
	if a.o.Commands == nil {
		return nil
	}
	if err := a.o.Commands.Recover(ctx); err != nil {
		a.log.Error("commands of the last run not settled", "error", err)
		return fmt.Errorf("recover commands: %w", err)
	}
	return nil
}

// startLink starts the link, which outlives ctx so that it can deliver the last words; the returned function ends it.
func (a *Agent) startLink(ctx context.Context, router Router) (stop func()) {
	lctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.link.router = router
	a.link.receiving, a.stopReceiving = context.WithCancel(lctx)
	var wg sync.WaitGroup
	wg.Go(func() { a.link.run(lctx) })
	wg.Go(func() { a.link.watch(lctx) })
	wg.Go(func() { a.link.time.run(lctx) })
	wg.Go(func() { a.link.metered.watch(lctx) })
	return func() {
		a.stopReceiving()
		cancel()
		wg.Wait()
		a.link.metered.save(true)
	}
}

func (a *Agent) startPacker(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.packer.run(context.WithoutCancel(ctx))
	}()
	return func() {
		close(a.packer.in)
		<-done
	}
}

// startSamplers starts one goroutine for each sensor; the returned function waits for their ends.
func (a *Agent) startSamplers(ctx context.Context) (wait func() error) {
	var wg sync.WaitGroup
	errs := make([]error, len(a.o.Sources))
	for i, s := range a.o.Sources {
		wg.Go(func() {
			errs[i] = s.Run(ctx, func(r sensors.Reading) { a.emit(s.Lane, r) })
		})
	}
	return func() error {
		wg.Wait()
		return errors.Join(errs...)
	}
}

// emit packs a reading of a sensor with that lane; alarms have their own.
func (a *Agent) emit(lane outbox.Lane, r sensors.Reading) {
	if r.Alarm {
		lane = outbox.Alarm
	}
	a.packer.emit(lane, r)
}

func (a *Agent) startWatchdog(ctx context.Context) (stop func()) {
	if a.o.Watchdog <= 0 {
		return func() {}
	}
	wctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.pulse.feed(wctx, a.o.Watchdog, a.o.Notify, func(loops string) {
			a.log.Error("a loop makes no progress; the watchdog is not fed", "loops", loops)
		})
	}()
	return func() {
		cancel()
		<-done
	}
}

// startWatch remembers how much is written when, up to the end.
func (a *Agent) startWatch(ctx context.Context) (stop func()) {
	wctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { a.written.watch(wctx, a.o.Clock.Mono, a.o.Queue.Stats) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// drained returns nil when nothing is queued; it gives up when ctx is done or hope says that waiting is no use.
func (a *Agent) drained(ctx context.Context, hope func() bool) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		n := a.queued()
		switch {
		case n == 0:
			return nil
		case ctx.Err() != nil, !hope():
			return fmt.Errorf("%w: %d messages are still queued", ErrNotDrained, n)
		}
		select {
		case <-ctx.Done():
		case <-a.progress:
		case <-tick.C:
		}
	}
}

func (a *Agent) queued() uint64 { return queued(a.o.Queue) }

func queued(q outbox.Queue) uint64 {
	var n uint64
	for _, q := range q.Stats().Queued {
		n += q
	}
	return n
}

// Put queues a message that is not a reading: `iotagent send` and results of commands. It is durable when Put returns nil.
func (a *Agent) Put(ctx context.Context, lane outbox.Lane, e *Envelope) (outbox.ID, error) {
	return put(ctx, a.o.Queue, lane, e)
}

func put(ctx context.Context, q outbox.Queue, lane outbox.Lane, e *Envelope) (outbox.ID, error) {
	ids, err := q.Put(ctx, outbox.Message{Lane: lane, Durable: true, Body: e.Encode()})
	if err != nil {
		return outbox.ID{}, fmt.Errorf("queue a message: %w", err)
	}
	return ids[0], nil
}

// ReportTo returns the function that a command router reports results with: durable messages in the normal lane.
func ReportTo(q outbox.Queue) func(ctx context.Context, r c2d.Report) error {
	return func(ctx context.Context, r c2d.Report) error {
		_, err := put(ctx, q, outbox.Normal, resultEnvelope(r))
		return err
	}
}
