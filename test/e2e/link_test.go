package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub/sas"
)

// connectionString is what the hub gave the device, changed.
func connectionString(t *testing.T, h *hub, change func(c *sas.ConnectionString)) string {
	t.Helper()
	c := h.Devices()[device]
	change(&c)
	return c.Text() + "\n"
}

// slowly fails the test when a daemon does not give a person the time to mend anything before it tries again, and returns when it has.
func slowly(t *testing.T, h *hub, d *process) {
	t.Helper()
	d.says("retry_in=")
	dials := h.dials.Load()
	_, rest, _ := strings.Cut(d.log.String(), "retry_in=")
	wait, err := time.ParseDuration(strings.Trim(strings.Fields(rest)[0], `"`))
	if err != nil || wait < 5*time.Second {
		t.Errorf("it tries again after %v (%v)", wait, err)
	}
	await(t, "another attempt", func() bool { return h.dials.Load() > dials })
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	wrong := sas.NewKey([]byte("32 bytes that no hub ever handed out"))
	b := gateway(t, h, settings{})
	b.secrets = append(b.secrets, wrong.Text())
	file := b.file("wrong", connectionString(t, h, func(c *sas.ConnectionString) { c.Key = wrong }), 0o600)
	bad := settings{hub: "connection_string_file = " + quote(file), blocks: simulated("boiler")}
	b.configure(bad)
	b.do(0, "", "check") // by itself it looks right
	probe := b.do(1, "", "check", "--probe")
	probe.mentions("clock or key")

	d := b.run()
	d.says("clock or key: compare the key with the one in the portal")
	slowly(t, h, d)
	s := b.becomes("that the link waits", func(s status) bool { return s.Link.State == "waiting" })
	if s.Link.Class != "auth" || !strings.Contains(s.Link.Hint, "key") || s.Link.NextAttempt == nil {
		t.Errorf("status: %+v", s.Link)
	}
	d.stop()
	taken := b.status().queued()
	if h.Accepted() != 0 || taken == 0 {
		t.Errorf("%d messages at the hub, %d queued", h.Accepted(), taken)
	}

	bad.hub = ""
	b.configure(bad)
	b.do(0, "", "run", "--until-drained")
	h.whole()
	if h.Accepted() != int(taken) {
		t.Errorf("%d of %d messages arrived", h.Accepted(), taken)
	}
}

func TestUnknownDevice(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{})
	file := b.file("unknown", connectionString(t, h, func(c *sas.ConnectionString) { c.DeviceID = "pi-18" }), 0o600)
	b.configure(settings{hub: "connection_string_file = " + quote(file), blocks: simulated("boiler")})
	d := b.run()
	d.says("not registered")
	d.mentions("compare DeviceId with the portal")
	slowly(t, h, d)
	s := b.becomes("what is wrong", func(s status) bool { return s.Link.Error != "" })
	if !strings.Contains(s.Link.Hint, "DeviceId") || s.queued() == 0 {
		t.Errorf("status: %+v", s)
	}
	d.stop()
}

func TestDisabledDevice(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{blocks: simulated("boiler")})
	d := b.run()
	h.online()
	if err := h.DisableDevice(device); err != nil {
		t.Fatal(err)
	}
	d.says("enable it in the portal")
	dials := h.dials.Load()
	b.becomes("that it waits", func(s status) bool { return s.Link.State == "waiting" && s.Link.Class == "disabled" })
	if err := h.EnableDevice(device); err != nil {
		t.Fatal(err)
	}
	if n := h.dials.Load() - dials; n > 2 {
		t.Errorf("%d attempts for a disabled device at once", n)
	}
	d.stop()
	b.do(0, "", "run", "--until-drained")
	h.whole()
}

func TestHubDownAtStart(t *testing.T) {
	t.Parallel()
	o := hubsim.Options{StateDir: t.TempDir()}
	h := openHub(t, o, "127.0.0.1:0")
	addr := h.addr
	h.close()
	b := gateway(t, h, settings{blocks: simulated("boiler")})
	d := b.run()
	d.says("hub not reached")
	d.mentions("connection refused", "nothing listens there", "5671")
	b.becomes("five messages queued", func(s status) bool { return s.queued() >= 5 })
	if n := strings.Count(d.log.String(), "hub not reached"); n > 8 {
		t.Errorf("%d attempts already", n)
	}
	h = openHub(t, o, addr)
	h.online()
	taken := b.status().Readings.Readings
	d.stop()
	h.whole()
	if got := h.readings("boiler"); got < int(taken) {
		t.Errorf("%d of %d readings arrived", got, taken)
	}
	if first := h.messages()[0]; first.seq != 1 {
		t.Errorf("the first message to arrive is %s", first.id)
	}
}

func TestClockAnHourBehind(t *testing.T) {
	t.Parallel()
	for _, behind := range []time.Duration{time.Hour, 2 * time.Hour} {
		t.Run(behind.String(), func(t *testing.T) {
			t.Parallel()
			var shift atomic.Int64 // the hub is right; the gateway is behind by this
			shift.Store(int64(behind))
			h := newHub(t, hubsim.Options{Now: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }})
			b := gateway(t, h, settings{blocks: simulated("boiler")})
			d := b.run()
			d.says("this machine's clock is behind")
			slowly(t, h, d)
			if h.Accepted() != 0 {
				t.Error("the hub took an expired token")
			}
			s := b.status()
			if !strings.Contains(s.Link.Hint, "clock is behind: it says 20") {
				t.Errorf("status: %+v", s.Link)
			}
			shift.Store(0) // somebody sets the clock
			h.online()
			taken := b.status().Readings.Readings
			d.stop()
			h.whole()
			if got := h.readings("boiler"); got < int(taken) {
				t.Errorf("%d of %d readings arrived", got, taken)
			}
		})
	}
}

// With the clock ahead tokens live longer than they should: everything works.
func TestClockAnHourAhead(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	b := gateway(t, h, settings{blocks: simulated("boiler")})
	d := b.run()
	h.until("telemetry", func() bool { return h.Accepted() >= 3 })
	d.stop()
	h.whole()
	if n := h.dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// The hub refuses the first renewals and then takes one: nothing is lost, and the connection stays.
func TestTokenRefusedAtRenewal(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{hub: "token_ttl = \"1m\"", blocks: simulated("boiler")})
	d := b.run()
	h.online()
	h.RejectNextTokens(2, 401, "Unauthorized") // the first was put before the links
	d.says("token not renewed")
	d.mentions("401")
	h.until("a token that is taken", func() bool { return h.TokenRequests() >= 3 })
	d.says("token renewed")
	h.until("telemetry under the new token", func() bool { return h.TokenRequests() >= 3 && len(h.Links(device)) == 2 })
	s := b.status()
	if s.Link.State != "online" || s.Link.Connects != 1 || h.TokenRequests() != 3 {
		t.Errorf("%+v after %d token requests", s.Link, h.TokenRequests())
	}
	d.stop()
	h.whole()
}

// A hub that is silent, one that drops everything and one that closes with a word are all left and found again.
func TestLinkFaults(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{blocks: simulated("boiler")})
	d := b.run()
	for _, f := range []struct {
		name  string
		fault func()
	}{
		{"dropped", func() { h.DropConnections() }},
		{"closed", func() { h.CloseConnections("amqp:connection:forced", "maintenance") }},
		{"detached", func() { h.DetachLinks("", "amqp:link:detach-forced", "maintenance") }},
		{"refused for a while", func() {
			h.RefuseConnections(true)
			h.DropConnections()
			before := h.dials.Load()
			await(t, "an attempt that is refused", func() bool { return h.dials.Load() > before })
			h.RefuseConnections(false)
		}},
	} {
		before := h.Accepted()
		h.until("telemetry before "+f.name, func() bool { return h.Accepted() > before })
		f.fault()
		before = h.Accepted()
		h.until("telemetry after "+f.name, func() bool { return h.Accepted() > before })
	}
	d.stop()
	h.whole()
	if n := h.dials.Load(); n > 12 {
		t.Errorf("%d connections for four faults", n)
	}
}

func TestAuthorityNotTrusted(t *testing.T) {
	t.Parallel()
	h, other := newHub(t, hubsim.Options{}), newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{blocks: simulated("boiler")})
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	b.file("iotagent.toml", strings.ReplaceAll(string(text), filepath.Join(h.dir, "ca.pem"), filepath.Join(other.dir, "ca.pem")), 0o600)
	d := b.run()
	d.says("hub not reached")
	d.mentions("set ca_file")
	d.stop()
}
