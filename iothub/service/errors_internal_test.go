package service

import (
	"errors"
	"fmt"
	"testing"

	"github.com/Azure/go-amqp"
)

func TestWhatRefusalsOfCommandsMean(t *testing.T) {
	coded := func(code int) string { return fmt.Sprintf(`{"errorCode":%d,"message":"Words."}`, code) }
	for _, test := range []struct {
		condition, description string
		want                   error
		text                   string
	}{
		{"amqp:not-found", coded(404001), ErrDeviceUnknown, "send to pi-17: no such device: amqp:not-found (404001): Words."},
		{"amqp:not-found", "", ErrDeviceUnknown, "send to pi-17: no such device: amqp:not-found"},
		{"amqp:resource-limit-exceeded", coded(403004), ErrQueueFull, "send to pi-17: the device's command queue is full: amqp:resource-limit-exceeded (403004): Words."},
		{"amqp:resource-limit-exceeded", "full", ErrQueueFull, "send to pi-17: the device's command queue is full: amqp:resource-limit-exceeded: full"},
		{"amqp:resource-limit-exceeded", coded(403002), ErrQuota, "send to pi-17: the hub's daily quota is used up: amqp:resource-limit-exceeded (403002): Words."},
		{"amqp:resource-limit-exceeded", coded(429001), ErrThrottled, "send to pi-17: throttled by the hub: amqp:resource-limit-exceeded (429001): Words."},
		{"com.microsoft:device-container-throttled", "", ErrThrottled, "send to pi-17: throttled by the hub: com.microsoft:device-container-throttled"},
		{"com.microsoft:server-busy", coded(503005), ErrThrottled, "send to pi-17: throttled by the hub: com.microsoft:server-busy (503005): Words."},
		{"com.microsoft:quota-exceeded", "", ErrQuota, "send to pi-17: the hub's daily quota is used up: com.microsoft:quota-exceeded"},
		{"amqp:unauthorized-access", coded(401003), ErrUnauthorized, "send to pi-17: not authorized: amqp:unauthorized-access (401003): Words."},
		{"amqp:internal-error", coded(500001), nil, "send to pi-17: amqp:internal-error (500001): Words."},
		{"amqp:internal-error", `{"errorCode":"odd"}`, nil, `send to pi-17: amqp:internal-error: {"errorCode":"odd"}`},
	} {
		remote := &amqp.Error{Condition: amqp.ErrCond(test.condition), Description: test.description}
		for _, err := range []error{remote, &amqp.LinkError{RemoteErr: remote}} {
			got := commandError("pi-17", err)
			if got.Error() != test.text || test.want != nil && !errors.Is(got, test.want) {
				t.Errorf("%T: %v, want %q", err, got, test.text)
			}
			for _, other := range []error{ErrDeviceUnknown, ErrQueueFull, ErrThrottled, ErrQuota, ErrUnauthorized} {
				if !errors.Is(other, test.want) && errors.Is(got, other) {
					t.Errorf("%v is %q, too", got, other)
				}
			}
		}
	}
}
