package e2e

import (
	"testing"

	"iotagent/hubsim"
)

// While the hub answers within max_loss, readings come and go and nothing is written to the disk.
func TestNothingIsWrittenWhileTheHubAnswers(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{outbox: `max_loss = "20s"`, telemetry: `flush_interval = "200ms"`, blocks: simulated("boiler")})
	d := b.run()
	h.online()
	before := b.becomes("the first messages at the hub", func(s status) bool { return s.Link.Sent >= 2 })
	after := b.becomes("ten more", func(s status) bool { return s.Link.Sent >= before.Link.Sent+10 })
	if before.Outbox.Commits == 0 || after.Outbox.Commits != before.Outbox.Commits || after.Outbox.WrittenBytes != before.Outbox.WrittenBytes {
		t.Errorf("%d commits of %d bytes, and %d messages later %d of %d", before.Outbox.Commits, before.Outbox.WrittenBytes,
			after.Link.Sent-before.Link.Sent, after.Outbox.Commits, after.Outbox.WrittenBytes)
	}
	d.stop()
	h.whole()
}

// A stop without a hub writes everything that was in memory, and the next start has nothing to declare.
func TestStopWritesWhatIsStaged(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	h.SetTelemetryCredit(0)
	b := gateway(t, h, settings{
		agent: `drain_timeout = "100ms"`, outbox: `max_loss = "1h"`, telemetry: `flush_interval = "100ms"`, blocks: simulated("boiler"),
	})
	d := b.run()
	s := b.becomes("messages in memory only", func(s status) bool { return s.Outbox.RAMOnly >= 5 })
	d.stop()
	if left := b.status(); left.queued() < s.queued() {
		t.Errorf("%d messages are on the disk, %d were queued", left.queued(), s.queued())
	}
	h.SetTelemetryCredit(1000)
	b.do(0, "", "run", "--until-drained")
	h.whole()
	if got := h.readings("boiler"); got < int(s.Readings.Readings) {
		t.Errorf("%d of %d readings arrived", got, s.Readings.Readings)
	}
}

// While the hub is away, what is older than max_loss is on the disk, so that only younger readings go with a kill, and that is declared.
func TestMaxLossHoldsOverAKill(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	h.SetTelemetryCredit(0)
	b := gateway(t, h, settings{outbox: `max_loss = "1s"`, telemetry: `flush_interval = "100ms"`, blocks: simulated("boiler")})
	d := b.run()
	s := b.becomes("messages on the disk", func(s status) bool { return s.queued() >= s.Outbox.RAMOnly+10 })
	d.kill()
	if left := b.status(); left.queued() < s.queued()-s.Outbox.RAMOnly {
		t.Errorf("%d messages are on the disk, %d were said to be", left.queued(), s.queued()-s.Outbox.RAMOnly)
	}
	h.SetTelemetryCredit(1000)
	b.do(0, "", "run", "--until-drained")
	h.wholeBut(1)
	if n := len(h.ofKind("gap")); n != 1 {
		t.Errorf("%d gaps were declared", n)
	}
}
