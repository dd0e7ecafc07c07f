package iothub_test

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/iothub"
)

// A program that takes no commands must not lock any: a delivered command would be away for a minute.
func TestTelemetryOnlyLeavesCommandsAtTheHub(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		if err := b.SendCommand(device, amqp.NewMessage([]byte("{}"))); err != nil {
			t.Fatal(err)
		}
		o := b.options()
		o.TelemetryOnly = true
		c := b.dial(o)
		r, err := c.Send(t.Context(), message(1))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Wait(t.Context()); got.State != iothub.Accepted {
			t.Errorf("outcome %+v", got)
		}
		if links := b.Links(device); len(links) != 1 {
			t.Errorf("links %v, want telemetry alone", links)
		}
		if c.Status().Parts[iothub.Command].Phase != iothub.Unused {
			t.Error("a command link is proven that does not exist")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Receive(ctx); err == nil {
			t.Error("received a command")
		}
		if n := b.Queued(device); n != 1 {
			t.Errorf("%d commands at the hub, want 1", n)
		}
	})
}
