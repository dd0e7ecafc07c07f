package agent_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/agent"
	"iotagent/hubsim"
)

const (
	telemetryAddress = "/devices/pi-17/messages/events"
	commandAddress   = "/devices/pi-17/messages/devicebound"
)

// sometime looks at the status until it is as wanted, for d at most.
func (b *watchBed) sometime(d time.Duration, what string, want func(s *agent.LinkStatus) bool) agent.LinkStatus {
	b.t.Helper()
	var s agent.LinkStatus
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		synctest.Wait()
		if s = b.a.Status().Link; want(&s) {
			return s
		}
	}
	b.t.Fatalf("not within %v: %s; link %+v", d, what, s)
	return s
}

// A link that the hub ends, or that is dead without a word, is seen in the status while it is, is made anew on the same connection, and is said once.
func TestLinkMendsItself(t *testing.T) {
	rows := map[string]struct {
		hurt    func(b *watchBed)
		part    int
		noticed time.Duration
	}{
		"the command link, ended": {func(b *watchBed) {
			b.hub.RefuseNextAttach(commandAddress, "amqp:internal-error", "not yet") // or it would be back before anybody looks
			b.hub.DetachLinks(commandAddress, "amqp:link:detach-forced", "server busy")
		}, 3, 5 * time.Second},
		"the telemetry link, ended": {func(b *watchBed) {
			b.hub.RefuseNextAttach(telemetryAddress, "amqp:internal-error", "not yet")
			b.hub.DetachLinks(telemetryAddress, "amqp:link:detach-forced", "server busy")
		}, 2, 5 * time.Second},
		"the command link, deaf":   {func(b *watchBed) { b.hub.SetDeaf(commandAddress, hubsim.DeafNow) }, 3, time.Minute},
		"the telemetry link, deaf": {func(b *watchBed) { b.hub.SetDeaf(telemetryAddress, hubsim.DeafNow) }, 2, time.Minute},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newWatchBed(t)
				b.start()
				b.sometime(10*time.Second, "online", func(s *agent.LinkStatus) bool { return s.State == "online" })
				b.put(3)
				time.Sleep(10 * time.Second)
				row.hurt(b)
				ill := b.sometime(row.noticed, "degraded", func(s *agent.LinkStatus) bool { return s.State == "degraded" })
				if p := ill.Trouble(); p.Part != ill.Parts[row.part].Part || p.Cause == "" || ill.Parts[0].Phase != "proven" {
					t.Errorf("link %+v", ill)
				}
				b.sometime(time.Minute, "online again", func(s *agent.LinkStatus) bool { return s.State == "online" })
				ids := b.put(3)
				b.until(time.Minute, "what is sent afterwards", func() bool { return b.hub.Accepted() == 6 })
				time.Sleep(2 * time.Second)
				synctest.Wait()
				s := b.a.Status()
				if s.Link.Losses != 0 || s.Link.Connects != 1 || s.Link.Parts[row.part].Losses == 0 || s.Stuck != "" {
					t.Errorf("stuck %q, link %+v", s.Stuck, s.Link)
				}
				title := s.Link.Parts[row.part].Title()
				if lost, back := b.said("a part of the link lost", title), b.said("proven again", title); lost != 1 || back != 1 {
					t.Errorf("said %d times to be lost, %d times to be back:\n%s", lost, back, b.log.String())
				}
				if got, again := b.received(); len(got) != 6 || again != 0 || !strings.HasSuffix(got[5], ids[2][len(ids[2])-2:]) {
					t.Errorf("the hub has %v, %d of them twice", got, again)
				}
				b.stop()
			})
		})
	}
}
