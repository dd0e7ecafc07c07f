package agent

import (
	"time"

	"iotagent/internal/backoff"
	"iotagent/iothub"
)

// waits says how long to stay away from the hub after each class of error (ARCHITECTURE.md). Nothing is fatal for ever: a disabled device
// may be enabled again, so it is tried slowly.
func waits(class iothub.Class) backoff.Backoff {
	switch class {
	case iothub.ClassAuth, iothub.ClassClock:
		return backoff.Backoff{Floor: 5 * time.Second, Cap: 2 * time.Minute}
	case iothub.ClassDisabled:
		return backoff.Backoff{Floor: 20 * time.Second, Cap: 5 * time.Minute}
	case iothub.ClassDisplaced:
		return backoff.Backoff{Floor: 30 * time.Second, Cap: 5 * time.Minute}
	case iothub.ClassThrottled:
		return backoff.Backoff{Floor: 10 * time.Second, Cap: time.Minute}
	case iothub.ClassQuota:
		return backoff.Backoff{Floor: time.Minute, Cap: 10 * time.Minute}
	case iothub.ClassProtocol, iothub.ClassUnknown, iothub.ClassRedirect, iothub.ClassMessage:
		return backoff.Backoff{Floor: 2 * time.Second, Cap: time.Minute}
	case iothub.ClassNetwork, iothub.ClassServer:
	}
	return backoff.Backoff{Floor: 500 * time.Millisecond, Cap: 30 * time.Second}
}

// lostWhileWorking is the rule for a connection that had carried messages: healed within 5 s, however often it is lost.
func lostWhileWorking() backoff.Backoff {
	return backoff.Backoff{Floor: 250 * time.Millisecond, Cap: 4 * time.Second}
}

// stableAfter is how long a connection must have lived before its loss starts a new series of waits.
const stableAfter = time.Minute

// patience keeps one series of waits for each class of error.
type patience struct {
	series map[iothub.Class]*backoff.Backoff
	lost   backoff.Backoff
}

func newPatience() *patience {
	return &patience{series: map[iothub.Class]*backoff.Backoff{}, lost: lostWhileWorking()}
}

// next returns how long to wait after an error of that class, on a connection that had lived that long (0: it never came to be)
// and had carried messages or not.
func (p *patience) next(class iothub.Class, lived time.Duration, worked bool) time.Duration {
	if lived >= stableAfter {
		p.series = map[iothub.Class]*backoff.Backoff{}
		p.lost.Reset()
	}
	if worked && (class == iothub.ClassNetwork || class == iothub.ClassServer) {
		return p.lost.Next()
	}
	b := p.series[class]
	if b == nil {
		w := waits(class)
		b = &w
		p.series[class] = b
	}
	return b.Next()
}
