package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// pulse knows which loops are alive: each promises a time by which it will report again, and the watchdog is fed only
// while no promise is broken. A loop that waits for something without a deadline withdraws its promise with done.
type pulse struct {
	mu       sync.Mutex
	promises map[string]time.Time
}

func newPulse() *pulse { return &pulse{promises: map[string]time.Time{}} }

// within promises that loop reports again within d.
func (p *pulse) within(loop string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.promises[loop] = time.Now().Add(d)
}

// done ends a loop's promises.
func (p *pulse) done(loop string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.promises, loop)
}

// stuck names the loops that broke their promise, "" when there is none.
func (p *pulse) stuck() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	var late []string
	for loop, by := range p.promises {
		if now.After(by) {
			late = append(late, fmt.Sprintf("%s (%s late)", loop, now.Sub(by).Round(time.Second)))
		}
	}
	slices.Sort(late)
	return strings.Join(late, ", ")
}

// feed calls notify("WATCHDOG=1") four times per interval while no loop is stuck, until ctx is done. The rate leaves room for a
// board that is busy for a while; what is stuck is said once, and systemd does the rest.
func (p *pulse) feed(ctx context.Context, interval time.Duration, notify func(string), complain func(loops string)) {
	tick := time.NewTicker(interval / 4)
	defer tick.Stop()
	said := ""
	for {
		late := p.stuck()
		if late == "" {
			notify("WATCHDOG=1")
		} else if late != said {
			complain(late)
		}
		said = late
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
