package main

import (
	"bytes"
	"testing"
	"time"

	"iotagent/agent"
	"iotagent/internal/golden"
)

// at is the moment of every status here; the zone shows that none of it depends on where the machine stands.
func at() time.Time {
	return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC).In(time.FixedZone("", 9*60*60))
}

func ago(d time.Duration) *time.Time {
	t := at().Add(-d)
	return &t
}

// parts are four that are proven.
func parts() []agent.PartStatus {
	since := *ago(3 * time.Hour)
	return []agent.PartStatus{
		{Part: "connection", Phase: "proven", Since: since, Proof: ago(4 * time.Second), Deadline: ago(-56 * time.Second)},
		{Part: "token", Phase: "proven", Since: since, Proof: ago(12 * time.Minute)},
		{Part: "telemetry", Phase: "proven", Since: since, Proof: ago(time.Second)},
		{Part: "command", Phase: "proven", Since: since, Proof: ago(29 * time.Second)},
	}
}

func onlineStatus() *agent.Status {
	return &agent.Status{
		Time: at(), ClockTrusted: true,
		Clock: agent.ClockStatus{
			State: "synchronised", Since: *ago(3 * time.Hour), Anchor: &agent.ClockAnchor{Time: at(), Source: "kernel"},
		},
		Link: agent.LinkStatus{
			State: "online", Since: *ago(3 * time.Hour), Host: "myhub.azure-devices.net", Via: "amqps", KeyInUse: "primary",
			TokenExpires: ago(-48 * time.Minute), Parts: parts(), Connects: 1, Sent: 2160, ReadBytes: 412345, WrittenBytes: 8123456,
		},
		Metering: agent.Metering{Day: "2026-11-22", Messages: 7200, Metered: 7200, Bytes: 7200 * 3891},
		Outbox:   agent.OutboxStatus{Lanes: []agent.LaneStatus{{Lane: "alarm"}, {Lane: "normal"}, {Lane: "bulk"}}, QuotaBytes: 256 << 20},
	}
}

func TestLinkForAPerson(t *testing.T) {
	lost := func(s *agent.Status, state, class, cause, hint string, next time.Duration) {
		l := &s.Link
		l.Host, l.Via, l.KeyInUse, l.TokenExpires = "", "", "", nil
		l.State, l.Since, l.Class, l.Error, l.Hint, l.NextAttempt = state, *ago(8 * time.Second), class, cause, hint, ago(-next)
		l.Losses = 1
		for i := range l.Parts {
			l.Parts[i].Phase, l.Parts[i].Since = "down", *ago(2 * time.Minute)
		}
		p := &l.Parts[0]
		p.Cause, p.Class, p.Hint, p.NextAttempt = cause, class, hint, ago(-next)
	}
	rows := map[string]func(s *agent.Status){
		"online": func(*agent.Status) {},
		"online-x509-telemetry-only": func(s *agent.Status) {
			s.Link.Via, s.Link.KeyInUse, s.Link.TokenExpires = "websocket through proxy.local:3128", "", nil
			s.Link.Parts[1] = agent.PartStatus{Part: "token", Phase: "unused"}
			s.Link.Parts[3] = agent.PartStatus{Part: "command", Phase: "unused"}
			s.Metering.SinceStart = true
		},
		"degraded-command": func(s *agent.Status) {
			s.Link.State, s.Link.Since = "degraded", *ago(70 * time.Second)
			s.Link.Parts[3] = agent.PartStatus{
				Part: "command", Phase: "down", Since: *ago(70 * time.Second), Proof: ago(2 * time.Minute), Losses: 2, Class: "server",
				Cause: "command link: amqp:link:detach-forced: server busy", Hint: "nothing to do here: the hub is busy or being moved", NextAttempt: ago(-4 * time.Second),
			}
		},
		"degraded-token": func(s *agent.Status) {
			s.Link.State, s.Link.Since, s.Link.KeyInUse = "degraded", *ago(5 * time.Second), "secondary"
			s.Link.Parts[1] = agent.PartStatus{
				Part: "token", Phase: "doubtful", Since: *ago(5 * time.Second), Deadline: ago(-25 * time.Second), Class: "auth",
				Cause: "put-token: status 401", Hint: "check the device's key in the connection string, and this machine's clock",
			}
		},
		"connecting": func(s *agent.Status) {
			lost(s, "connecting", "network", "dial: connection refused", "check the cable", 0)
			s.Link.Parts[0].Phase, s.Link.Parts[0].NextAttempt = "opening", nil
		},
		"waiting-network": func(s *agent.Status) {
			lost(s, "waiting", "network", "dial: connection refused", "check the cable, the name server and that port 5671 is open to the hub", 25*time.Second)
			s.Metering.AtLeast = true
		},
		"waiting-displaced": func(s *agent.Status) {
			lost(s, "waiting", "displaced", "connection: amqp:internal-error: Another AMQP Client connected", "another program connects as this device; stop it or give it an identity of its own", 2*time.Minute)
			s.Link.Displaced, s.Link.DisplacedAt = 3, ago(8*time.Second)
		},
		"waiting-disabled": func(s *agent.Status) {
			lost(s, "waiting", "disabled", "put-token: status 404: device is disabled", "enable the device in the hub's registry", 5*time.Minute)
		},
		"paused-quota": func(s *agent.Status) {
			s.Link.PausedUntil, s.Link.Uplink.Pause, s.Link.Uplink.RatePerSecond, s.Link.Resent = ago(-40*time.Second), "quota", 12.5, 31
		},
		"clock-wrong": func(s *agent.Status) {
			lost(s, "waiting", "clock", "put-token: the clock says 1970", "set this machine's clock (timedatectl); nothing is lost meanwhile", 15*time.Second)
			s.ClockTrusted = false
			s.Clock = agent.ClockStatus{State: "implausible", Since: *ago(5 * time.Minute), HubError: "hub's time: connection refused", Hint: "timedatectl set-ntp true turns the time service on"}
		},
		"clock-confirmed": func(s *agent.Status) {
			s.Clock.State, s.Clock.Anchor.Source = "confirmed", "hub"
			s.Clock.Hub = &agent.ClockHub{Asked: *ago(12 * time.Minute), AheadSeconds: -0.213, WithinSeconds: 0.544}
		},
		"clock-restored": func(s *agent.Status) {
			s.ClockTrusted = false
			s.Clock = agent.ClockStatus{
				State: "restored", Since: *ago(90 * time.Second), Anchor: &agent.ClockAnchor{Time: *ago(90 * time.Second), Source: "kernel", WithinSeconds: 0.009},
				Step: &agent.ClockStep{Time: *ago(90 * time.Second), BySeconds: -7200}, Steps: 1, Hint: "timedatectl set-ntp true turns the time service on",
			}
		},
		"clock-unconfirmed": func(s *agent.Status) {
			s.ClockTrusted = false
			s.Clock = agent.ClockStatus{State: "unconfirmed", Since: *ago(90 * time.Second), HubError: "hub's time: connection refused", Hint: "timedatectl set-ntp true turns the time service on"}
		},
		"stopped": func(s *agent.Status) {
			s.Link = agent.LinkStatus{State: "stopped"}
		},
	}
	for name, change := range rows {
		t.Run(name, func(t *testing.T) {
			s := onlineStatus()
			change(s)
			var b bytes.Buffer
			if err := printStatus(&b, s); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, "testdata/status-"+name+".txt", b.Bytes(), *update)
		})
	}
}
