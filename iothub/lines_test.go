package iothub

import (
	"errors"
	"testing"

	amqp "github.com/Azure/go-amqp"

	"iotagent/iothub/sas"
)

// A hub that refuses a link answers the ATTACH and then detaches it: that is one try that failed, and no loss.
func TestRefusedAttachCountsOnce(t *testing.T) {
	c, err := newClient(t.Context(), &Options{Host: "h", DeviceID: "d", Key: sas.NewKey([]byte("k"))})
	if err != nil {
		t.Fatal(err)
	}
	l := c.telemetry
	l.name, l.opening = linkName("telemetry"), true
	c.linkLost(l.name, false, &amqp.Error{Condition: amqp.ErrCondInternalError})
	if l.lost == nil || l.lost.Class != ClassServer || l.tries.Failures() != 0 {
		t.Fatalf("lost %v, %d tries", l.lost, l.tries.Failures())
	}
	l.opening = false
	c.notMended(l, l.lost)
	if h := c.status.Parts[Telemetry]; l.tries.Failures() != 1 || h.Phase != Down || h.Losses != 0 {
		t.Errorf("%d tries, %+v", l.tries.Failures(), h)
	}
	for range maxTries {
		if c.ctx.Err() != nil {
			t.Fatal("given up too soon")
		}
		c.notMended(l, l.lost)
	}
	if !errors.Is(c.Err(), l.lost) {
		t.Errorf("the connection is not given up: %v", c.Err())
	}
}
