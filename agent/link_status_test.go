package agent_test

import (
	"testing"
	"time"

	"iotagent/agent"
)

func TestLineForTheServiceManager(t *testing.T) {
	next := time.Date(2026, 11, 22, 14, 3, 7, 0, time.UTC)
	part := func(name, phase, cause string) agent.PartStatus {
		return agent.PartStatus{Part: name, Phase: phase, Cause: cause}
	}
	down := func(phase, cause string) []agent.PartStatus {
		return []agent.PartStatus{part("connection", phase, cause), part("token", "down", ""), part("telemetry", "down", ""), part("command", "down", "")}
	}
	rows := map[string]struct {
		status agent.LinkStatus
		want   string
	}{
		"online":                {agent.LinkStatus{State: "online"}, "online"},
		"online, the way known": {agent.LinkStatus{State: "online", Via: "amqps"}, "online via amqps"},
		"without a quota": {
			agent.LinkStatus{State: "online", Via: "amqps", PausedUntil: &next, Uplink: agent.UplinkStatus{Pause: "quota"}},
			"online via amqps, the hub's daily quota is used up",
		},
		"before the first time": {agent.LinkStatus{State: "connecting", Parts: down("opening", "")}, "connecting to the hub"},
		"again": {
			agent.LinkStatus{State: "connecting", Error: "x", Parts: down("opening", "dial: connection refused")},
			"connection opening: dial: connection refused",
		},
		"waiting": {
			agent.LinkStatus{State: "waiting", NextAttempt: &next, Parts: down("down", "dial: connection refused")},
			"connection down: dial: connection refused; next attempt 22:03:07",
		},
		"degraded": {
			agent.LinkStatus{State: "degraded", NextAttempt: &next, Parts: []agent.PartStatus{
				part("connection", "proven", ""), part("token", "unused", ""), part("telemetry", "proven", ""),
				part("command", "down", "command link: server\n busy"),
			}},
			"command link down: command link: server busy; next attempt 22:03:07",
		},
		"degraded, no cause known": {
			agent.LinkStatus{State: "degraded", Parts: []agent.PartStatus{
				part("connection", "proven", ""), part("token", "unused", ""), part("telemetry", "doubtful", ""), part("command", "proven", ""),
			}},
			"telemetry link doubtful",
		},
		"ended": {agent.LinkStatus{State: "offline"}, ""},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			if got := row.status.Line(time.FixedZone("", 8*60*60)); got != row.want {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
		})
	}
}
