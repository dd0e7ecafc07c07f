package main

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iotagent/internal/cli"
	"iotagent/internal/simctl"
)

// controlled is a hub with its control socket beside its files.
func controlled(t *testing.T) *bed {
	t.Helper()
	b := newBed(t)
	l, err := simctl.Listen(t.Context(), filepath.Join(b.dir, simctl.Socket))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: b.Control(), ReadHeaderTimeout: time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return b
}

func TestSimSwitchesFaults(t *testing.T) {
	b := controlled(t)
	for line, fault := range map[string]string{
		"refuse on":                              "new connections are refused",
		"blackhole on":                           "black hole: all",
		"blackhole tcp":                          "black hole: tcp",
		"slow 500":                               "reads 500 bytes a second",
		"credit 0":                               "telemetry credit 0",
		"window 7":                               "session window 7",
		"ack lose --nth 3":                       "delivery 3 (0 so far) is stored and never acknowledged",
		"ack reject --every 2":                   "one delivery in 2 is rejected",
		"ack delay --delay 1m":                   "every delivery is accepted after 1m0s",
		"ack release --device x":                 "every delivery of x is released",
		"settlement 2":                           "the next 2 settlements of commands are lost",
		"token swallow":                          "put-token requests fail",
		"token reject --count 9":                 "put-token requests fail",
		"throttle on --rate 3":                   "telemetry is throttled to 3 a second, after 5s rejected",
		"idle 1m":                                "idle timeouts below 1m0s are refused",
		"omit-id on":                             "new connections get no next-incoming-id",
		"attach /devices/pi-17/messages/events":  "the next link to the telemetry of pi-17 gets amqp:internal-error",
		"redirect --to h:1":                      "the next connection is redirected",
		"mute-echo on":                           "echoes are not answered",
		"late on":                                "settlements go out after the end of their link",
		"deaf on":                                "deaf: every link but those to $cbs",
		"deaf on /devices/pi-17/messages/events": "deaf: the telemetry of pi-17",
		"attach --after /devices/pi-17/messages/devicebound":    "the next link to the commands of pi-17 gets amqp:internal-error once it is attached",
		"redirect /devices/pi-17/messages/deviceBound --to h:1": "the next link to the commands of pi-17 gets amqp:link:redirect",
	} {
		if status, _, stderr := b.hubctl(append([]string{"sim"}, strings.Fields(line)...)...); status != cli.OK {
			t.Errorf("%s: status %d, %s", line, status, stderr)
			continue
		}
		if _, stdout, _ := b.hubctl("sim", "status"); !strings.Contains(stdout, fault) {
			t.Errorf("%s: status does not say %q:\n%s", line, fault, stdout)
		}
		if status, _, stderr := b.hubctl("sim", "reset"); status != cli.OK {
			t.Fatalf("reset: status %d, %s", status, stderr)
		}
		if _, stdout, _ := b.hubctl("sim", "status"); strings.Contains(stdout, "fault") {
			t.Errorf("after the reset:\n%s", stdout)
		}
	}
}

func TestSimClock(t *testing.T) {
	b := controlled(t)
	for text, want := range map[string]time.Duration{"+1h": time.Hour, "-90s": -90 * time.Second, "0": 0} {
		if status, _, stderr := b.hubctl("sim", "clock", text); status != cli.OK {
			t.Errorf("clock %s: status %d, %s", text, status, stderr)
		}
		if got := b.ClockOffset(); got != want {
			t.Errorf("clock %s: %v", text, got)
		}
	}
}

func TestSimCutsAndDetaches(t *testing.T) {
	b := controlled(t)
	for line, want := range map[string]string{
		"detach /devices/pi-17/messages/events": "1 links detached\n",
		"detach --suspend":                      "2 links detached\n",
		"deaf now":                              "2 links are deaf\n",
		"end":                                   " sessions ended\n",
		"close":                                 "1 connections closed\n",
		"drop":                                  "1 connections dropped\n",
		"drop --rst":                            "1 connections dropped\n",
	} {
		c := b.device()
		b.say(c, "1")
		if _, stdout, _ := b.hubctl("sim", "status", "--json"); !strings.Contains(stdout, `"connections":1`) || !strings.Contains(stdout, `"id":"pi-17"`) {
			t.Errorf("status %s", stdout)
		}
		if status, stdout, stderr := b.hubctl(append([]string{"sim"}, strings.Fields(line)...)...); status != cli.OK || !strings.HasSuffix(stdout, want) {
			t.Errorf("%s: status %d, %q, %s", line, status, stdout, stderr)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // deaf links would take longer, and do not matter
		_ = c.Close(ctx)                                                      // what the fault did to it is its own affair
		cancel()
		if err := b.WaitFor(t.Context(), func() bool { return b.Connections() == 0 }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSimMistakes(t *testing.T) {
	b := controlled(t)
	for line, want := range map[string]int{
		"":                               cli.Usage,
		"credit many":                    cli.Usage,
		"credit -- -4":                   cli.Usage,
		"clock soon":                     cli.Usage,
		"blackhole sideways":             cli.Usage,
		"ack lose --nth 1 --every 2":     cli.Failed,
		"ack delay":                      cli.Failed,
		"deaf perhaps":                   cli.Usage,
		"redirect --to nowhere":          cli.Failed,
		"--control /no/such/sock status": cli.Failed,
		"--control 127.0.0.1:1 reset":    cli.Failed,
	} {
		status, _, stderr := b.hubctl(append([]string{"sim"}, strings.Fields(line)...)...)
		if status != want || !strings.HasPrefix(stderr, "hubctl: ") {
			t.Errorf("%q: status %d, want %d; %s", line, status, want, stderr)
		}
		if strings.Contains(line, "--control") && !strings.Contains(stderr, "hint: ") {
			t.Errorf("%q gives no hint: %s", line, stderr)
		}
	}
	if status, _, stderr := hubctl(t, "sim", "status"); status != cli.Usage || !strings.Contains(stderr, "--control") {
		t.Errorf("without a hub: %d, %s", status, stderr)
	}
}
