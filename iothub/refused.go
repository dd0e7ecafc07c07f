package iothub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// hubTimeout bounds the question for the hub's time.
	hubTimeout = 5 * time.Second
	// skew is how far apart the clocks may be without a token being refused for it.
	skew = 5 * time.Minute
)

var errBothKeys = errors.New("the hub refuses both keys")

// keyRefused reports whether the hub refused what was made with a key; nil is no refusal.
func (e *Error) keyRefused() bool {
	return e != nil && e.Class == ClassAuth && (e.Op == "put-token" || e.Op == "sasl")
}

// clockOrKey is the hint for a refusal that says nothing of its reason.
const clockOrKey = "clock or key: compare the key with the one in the portal, and the time with this machine's, "

// refusal reports whether nothing suggests that asking again would help; nil is none.
func (e *Error) refusal() bool { return e != nil && (e.Class == ClassAuth || e.Class == ClassDisabled) }

// refusedToken makes an *Error of the hub's answer to a token.
func refusedToken(status int, description string) *Error {
	e := &Error{Op: "put-token", Class: ClassAuth, Condition: fmt.Sprintf("status %d", status), Description: description, Hint: clockOrKey}
	code := errorCode(description)
	switch said := strings.ToLower(description); {
	case code == 0 && strings.Contains(said, "not registered"):
		code = 404001
	case code == 0 && strings.Contains(said, "is disabled"):
		code = 403012
	case code == 0 && status == 403:
		code = 403005 // too many tokens on the connection
	case code == 0 && status != 401:
		code = status * 1000
	}
	if k, ok := kindOfCode(code); ok {
		e.Class = k.class
		if code/1000 != 401 || e.Class != ClassAuth {
			e.Hint = k.hint
		}
	}
	return e
}

// bothRefused is the error of a device whose two keys were refused one after the other, the first of them by this name.
func bothRefused(name string, first, second *Error) *Error {
	names := [2]string{name, "secondary"}
	if name == "secondary" {
		names[1] = "primary"
	}
	return &Error{
		Op: second.Op, Class: ClassAuth, Hint: second.Hint,
		Err: fmt.Errorf("%w: the %s one: %s; the %s one: %s", errBothKeys, names[0], first.words(), names[1], second.words()),
	}
}

// words returns the hub's words or the cause, without the operation.
func (e *Error) words() string { return strings.TrimPrefix(e.Error(), e.Op+": ") }

// explain says which of clock and key a refused token is due to, as far as the hub's own time tells. It takes 5 s at most.
func (o *Options) explain(ctx context.Context, e *Error) *Error {
	if unknown, _ := kindOfCode(404001); !e.keyRefused() || e.Hint == unknown.hint {
		return e
	}
	now := time.Now().UTC()
	if o.Now != nil {
		now = o.Now().UTC()
	}
	said := now.Format(time.RFC3339)
	e.Hint = clockOrKey + said
	if strings.Contains(strings.ToLower(e.words()), "expired") {
		e.Hint = fmt.Sprintf("this machine's clock is behind: it says %s, and the hub took a token that was made just now for an old one", said)
	}
	if o.HubTime == nil {
		return e
	}
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	hub, err := o.HubTime(ctx)
	if err != nil {
		e.Hint += fmt.Sprintf(" (the hub could not be asked for its time: %v)", err)
		return e
	}
	switch ahead := now.Sub(hub).Round(time.Second); {
	case ahead > skew:
		e.Hint = fmt.Sprintf("clock: this machine's is %v ahead of the hub's (%s here): set it", ahead, said)
	case ahead < -skew:
		e.Hint = fmt.Sprintf("clock: this machine's is %v behind the hub's (%s here): set it", -ahead, said)
	default:
		e.Hint = fmt.Sprintf("key: the clock is right (%v from the hub's), so compare key and DeviceId with the portal", ahead.Abs())
	}
	return e
}
