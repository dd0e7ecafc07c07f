package modbus

import (
	"fmt"
	"time"
)

// longestRest is the longest time that a unit which does not answer is left alone.
const longestRest = time.Minute

// health is what is known of one who may not answer. The zero value is for one who was not asked yet.
type health struct {
	alive    bool // it answered the last time
	failures int  // in a row
	until    time.Time
	err      error
}

// resting returns nil when it may be asked, otherwise what went wrong the last time.
func (h *health) resting() error {
	const tenth = 100 * time.Millisecond
	if left := time.Until(h.until); left > 0 {
		return fmt.Errorf("%w (asked again in %s)", h.err, max(tenth, left.Round(tenth)))
	}
	return nil
}

func (h *health) answered() { *h = health{alive: true} }

// fail notes one more failure that took as long as cost: it is left alone as long once, then 5, 10, 20 times as long, and so on. The first
// rest also keeps an answer that comes late from being taken for that to another request.
func (h *health) fail(err error, cost time.Duration) {
	h.alive = false
	h.failures++
	rest := cost
	if h.failures > 1 {
		const most = 16
		rest = 5 * cost << min(h.failures-2, most)
	}
	h.until, h.err = time.Now().Add(min(rest, longestRest)), err
}
