package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"iotagent/hubsim"
)

// queued makes a gateway with an alarm, seven normal and four bulk messages that the hub does not take, and a daemon if one is wanted.
func queued(t *testing.T, running bool) (*hub, *box, *process) {
	t.Helper()
	h := newHub(t, hubsim.Options{})
	h.SetTelemetryCredit(0)
	b := gateway(t, h, settings{agent: `drain_timeout = "1s"`})
	var d *process
	if running {
		d = b.run()
		h.online()
	}
	b.do(0, "", "send", "--body", "hot <ä>", "--lane", "alarm", "--prop", "site=7")
	b.do(0, "", "send", "--count", "7", "--size", "300")
	b.do(0, "one\ntwo\nthree\nfour\n", "send", "--lines", "--lane", "bulk")
	return h, b, d
}

// bothWays runs a test with the daemon running and stopped.
func bothWays(t *testing.T, test func(t *testing.T, running bool)) {
	t.Helper()
	for name, running := range map[string]bool{"stopped": false, "running": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, running)
		})
	}
}

func TestQueueStats(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, running bool) {
		_, b, _ := queued(t, running)
		b.do(0, "", "queue", "stats").mentions("alarm     1 messages", "normal    7 messages", "bulk      4 messages", "together  12 messages", "oldest waits for", "dead letters  none")
		var stats struct {
			Running bool
			Lanes   []struct {
				Lane          string
				Queued, Bytes uint64
			}
			DiskBytes int64 `json:"disk_bytes"`
		}
		p := b.do(0, "", "queue", "stats", "--json")
		if err := json.Unmarshal([]byte(p.out.String()), &stats); err != nil {
			t.Fatal(err)
		}
		if stats.Running != running || len(stats.Lanes) != 3 || stats.Lanes[1].Queued != 7 || stats.Lanes[1].Bytes < 7*300 || stats.DiskBytes == 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// Without a person or their word for it nothing is thrown away.
func TestQueuePurgeRefuses(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, running bool) {
		_, b, _ := queued(t, running)
		b.do(80, "y\n", "queue", "purge").mentions("standard input is no terminal", "--yes")
		b.do(80, "", "queue", "purge", "--dead", "--lane", "bulk", "--yes").mentions("dead letters go all together")
		b.do(80, "", "queue", "purge", "--lane", "fast", "--yes").mentions(`must be one of "alarm","normal","bulk"`)
		b.do(80, "", "queue").mentions("stats", "repair")
		if n := b.status().queued(); n != 12 {
			t.Errorf("%d messages queued, want 12", n)
		}
	})
}

// The configuration decides where the queue is; its mistakes and those of the command line have their own exit statuses.
func TestQueueNeedsNoSecret(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{hub: `connection_string_file = "/absent/secret"`})
	p := b.do(0, "", "queue", "stats")
	p.mentions("together  0 messages")
	if strings.Contains(p.log.String(), "absent") {
		t.Errorf("it looked for the secret: %s", p.log.String())
	}
	b.configure(settings{hub: `connection_string_file = "/absent/secret"`, outbox: "max_bites = 1"})
	b.do(78, "", "queue", "stats").mentions("max_bites")
}
