//go:build interop

package interop

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const device = "pi-17"

// rheaHub is the hub on rhea, with the files that our programs need to reach it.
type rheaHub struct {
	*process
	dir string
}

// said is one line of the hub.
type said struct {
	Event                                         string
	Nth, Batch, N, Port, Status, Count            int
	ID, Correlation, ContentType, ContentEncoding string
	Device, Outcome, Body, Text, Reason, Address  string
	Node, Resource, Condition, User, What         string
	Settled, Known                                bool
	Properties                                    map[string]string
}

// stored says whether the hub keeps the message of this line.
func (s said) stored() bool { return s.Outcome == "accept" || s.Outcome == "lose" }

// object is JSON.
type object = map[string]any

// newRheaHub starts a hub with one device, with faults at some deliveries, and with what it refuses messages for: a text in their body, a condition and its description.
func newRheaHub(t *testing.T, at object, poison ...string) *rheaHub {
	t.Helper()
	h := &rheaHub{dir: t.TempDir()}
	deviceKey, serviceKey := newKey(), newKey()
	a := newAuthority(t)
	writePEM(t, h.dir, "ca.pem", "CERTIFICATE", a.cert.Raw)
	writeKey(t, h.dir, a.key)
	config, err := json.Marshal(object{
		"hostname": "localhost", "key": h.path("key.pem"), "cert": h.path("ca.pem"),
		"devices": object{device: deviceKey}, "policies": object{"service": serviceKey}, "at": at, "poison": poison,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "hub.json", string(config))
	h.process = start(t, node(t), nil, filepath.Join("rheahub", "hub.js"), h.path("hub.json"))
	port := 0
	h.until("it listens", func(lines []string) bool {
		for _, s := range parse(t, lines) {
			port = s.Port
		}
		return port != 0
	})
	h.write(t, "device", fmt.Sprintf("HostName=localhost;DeviceId=%s;SharedAccessKey=%s;GatewayHostName=localhost:%d", device, deviceKey, port))
	h.write(t, "service", fmt.Sprintf("HostName=localhost:%d;SharedAccessKeyName=service;SharedAccessKey=%s", port, serviceKey))
	return h
}

func (h *rheaHub) path(name string) string { return filepath.Join(h.dir, name) }

func (h *rheaHub) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// agent writes a configuration and returns what names it on the command line.
func (h *rheaHub) agent(t *testing.T, more string) []string {
	t.Helper()
	h.write(t, "iotagent.toml", fmt.Sprintf(`
[hub]
connection_string_file = %q
ca_file = %q

[agent]
state_dir = %q
%s`, h.path("device"), h.path("ca.pem"), h.path("state"), more))
	return []string{"--config", h.path("iotagent.toml")}
}

// hubctl is the command line of hubctl against this hub.
func (h *rheaHub) hubctl(args ...string) []string {
	return append([]string{"--connection-string-file", h.path("service"), "--ca", h.path("ca.pem")}, args...)
}

// events returns what the hub said so far, of one kind.
func (h *rheaHub) events(kind string) []said {
	return slices.DeleteFunc(parse(h.t, h.all()), func(s said) bool { return s.Event != kind })
}

// await waits until the hub said as many lines of that kind which satisfy cond.
func (h *rheaHub) await(n int, kind string, cond func(said) bool) {
	h.t.Helper()
	seen, found := 0, 0
	h.until(fmt.Sprintf("%d times %s", n, kind), func(lines []string) bool {
		for _, s := range parse(h.t, lines[seen:]) {
			if s.Event == kind && cond(s) {
				found++
			}
		}
		seen = len(lines)
		return found >= n
	})
}

func anyOf(said) bool { return true }

// quiet fails the test for what the hub complained about.
func (h *rheaHub) quiet() {
	h.t.Helper()
	for _, s := range h.events("complaint") {
		h.t.Errorf("the hub complains: %s", s.Text)
	}
	if text := h.stderr(); text != "" {
		h.t.Errorf("the hub's standard error: %s", text)
	}
}

func parse(t *testing.T, lines []string) []said {
	t.Helper()
	all := make([]said, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal([]byte(line), &all[i]); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	return all
}

func newKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

// backlog queues n messages while no daemon runs, and returns their ids with their bodies.
func (h *rheaHub) backlog(t *testing.T, config []string, n int) map[string]string {
	t.Helper()
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"n":%d,"text":"%s"}`+"\n", i+1, strings.Repeat("é", i%50))
	}
	bodies := strings.Split(strings.TrimSpace(lines.String()), "\n")
	out := run(t, lines.String(), "iotagent", append(config, "send", "--lines", "--json", "--prop", "origin=interop")...)
	want := map[string]string{}
	for i, line := range strings.Split(out, "\n") {
		var printed struct {
			ID string `json:"message_id"`
		}
		if err := json.Unmarshal([]byte(line), &printed); err != nil {
			t.Fatal(err)
		}
		want[printed.ID] = bodies[i]
	}
	if len(want) != n {
		t.Fatalf("send printed %d ids, want %d", len(want), n)
	}
	return want
}

// stored waits until the hub has stored each of these messages at least once.
func (h *rheaHub) stored(want map[string]string) {
	h.t.Helper()
	have, seen := map[string]bool{}, 0
	h.until(fmt.Sprintf("%d messages are stored", len(want)), func(lines []string) bool {
		for _, s := range parse(h.t, lines[seen:]) {
			if s.Event == "telemetry" && s.stored() {
				have[s.ID] = true
			}
		}
		seen = len(lines)
		return len(have) >= len(want)
	})
}

// checkTelemetry holds everything that the hub received against what was queued: each message as it was queued, and first transmissions in order.
// What the hub refused for good is not expected to be stored.
func (h *rheaHub) checkTelemetry(want map[string]string, refused ...string) {
	h.t.Helper()
	last := map[string]int{} // of an epoch and lane
	seen, kept := map[string]string{}, map[string]bool{}
	for _, s := range h.events("telemetry") {
		kept[s.ID] = kept[s.ID] || s.stored()
		body, queued := want[s.ID]
		if !queued || s.Body != body {
			h.t.Errorf("%s came with the body %q, queued %q", s.ID, s.Body, body)
		}
		content := fmt.Sprint(s.Body, s.Properties, s.ContentType, s.ContentEncoding, s.Correlation)
		if first, again := seen[s.ID]; again {
			if first != content {
				h.t.Errorf("%s came with two contents:\n%s\n%s", s.ID, first, content)
			}
			continue
		}
		seen[s.ID] = content
		epoch, lane, seq := s.Properties["epoch"], s.Properties["lane"], 0
		if _, err := fmt.Sscan(s.Properties["seq"], &seq); err != nil || s.ID != fmt.Sprintf("%s-%s-%d", epoch, lane, seq) {
			h.t.Errorf("%s has the properties %v", s.ID, s.Properties)
		}
		if seq != last[epoch+lane]+1 {
			h.t.Errorf("%s was sent first after %d of its lane", s.ID, last[epoch+lane])
		}
		last[epoch+lane] = seq
		if s.ContentType != "application/json" || s.ContentEncoding != "utf-8" || s.Properties["origin"] != "interop" || s.Properties["iothub-creation-time-utc"] == "" || s.Device != device {
			h.t.Errorf("%s: %+v", s.ID, s)
		}
	}
	for id := range want {
		if !kept[id] && !slices.Contains(refused, id) {
			h.t.Errorf("%s is lost", id)
		}
	}
}

// Everything that is queued arrives, in order and unaltered, while the hub drops, detaches, gives back and forgets.
func TestBacklogOutlivesTheHubsFaults(t *testing.T) {
	t.Parallel()
	h := newRheaHub(t, object{
		"100": object{"then": "drop"},
		"250": object{"outcome": "release"},
		"300": object{"outcome": "lose"},
		"330": object{"then": []string{"detach", "amqp:link:detach-forced", "Server Busy. Please retry operation"}},
		"500": object{"hold": true, "then": []string{"close", "amqp:connection:forced", "maintenance"}},
		"650": object{"outcome": "modify"},
		"800": object{"outcome": []string{"reject", "amqp:internal-error", `{"errorCode":500001,"message":"try again"}`}},
		"950": object{"outcome": "lose", "then": "drop"},
	})
	config := h.agent(t, "")
	want := h.backlog(t, config, 1200)
	drain := program(t, "iotagent", append(config, "run", "--until-drained")...)
	if status := drain.wait(); status != 0 {
		t.Fatalf("status %d", status)
	}
	if disturbed := h.events("disturb"); len(disturbed) != 4 {
		t.Errorf("the hub disturbed %d times, want 4: %v", len(disturbed), disturbed)
	}
	h.checkTelemetry(want)
	h.quiet()
}

// The process dies in mid stream, twice: nothing is lost, and what comes again comes under its id.
func TestBacklogOutlivesThePowerCuts(t *testing.T) {
	t.Parallel()
	h := newRheaHub(t, object{"150": object{"hold": true}, "700": object{"hold": true}})
	config := h.agent(t, "")
	want := h.backlog(t, config, 1500)
	for cut := range 2 {
		daemon := program(t, "iotagent", append(config, "run")...)
		h.await(1, "telemetry", func(s said) bool { return s.Nth >= 150+550*cut+100 })
		daemon.kill()
		h.await(cut+1, "gone", anyOf)
	}
	daemon := program(t, "iotagent", append(config, "run")...)
	h.stored(want)
	daemon.stop()
	h.checkTelemetry(want)
	h.quiet()
}

// A message that the hub will never take goes to the dead letters and holds nothing up; the others arrive.
func TestPoisonHoldsNothingUp(t *testing.T) {
	t.Parallel()
	h := newRheaHub(t, nil, `"n":20,`, "amqp:link:message-size-exceeded", "too big")
	config := h.agent(t, "")
	want := h.backlog(t, config, 40)
	drain := program(t, "iotagent", append(config, "run", "--until-drained")...)
	if status := drain.wait(); status != 0 {
		t.Fatalf("status %d", status)
	}
	poison := ""
	for _, s := range h.events("telemetry") {
		if strings.Contains(s.Body, `"n":20,`) {
			poison = s.ID
		}
	}
	if !strings.Contains(drain.stderr(), "too big") {
		t.Errorf("the log does not say why a message was given up:\n%s", drain.stderr())
	}
	h.checkTelemetry(want, poison)
	h.quiet()
}

// A hub that cuts the link for the size of a message has not said which one: none is given up.
func TestDetachGivesNothingUp(t *testing.T) {
	t.Parallel()
	h := newRheaHub(t, object{"100": object{"then": []string{"detach", "amqp:link:message-size-exceeded", "too big"}}})
	config := h.agent(t, "")
	want := h.backlog(t, config, 1000)
	drain := program(t, "iotagent", append(config, "run", "--until-drained")...)
	if status := drain.wait(); status != 0 {
		t.Fatalf("status %d", status)
	}
	h.checkTelemetry(want)
	h.quiet()
}

// This hub, like its library, answers no FLOW that asks for an answer. Its links are made anew once, alone, and then let be.
func TestHubThatAnswersNoProbes(t *testing.T) {
	t.Parallel()
	h := newRheaHub(t, nil)
	config := h.agent(t, "")
	toml, err := os.ReadFile(config[1])
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "iotagent.toml", strings.Replace(string(toml), "[hub]", "[hub]\nkeepalive = \"5s\"", 1))
	daemon := program(t, "iotagent", append(config, "run")...)
	for _, node := range []string{"telemetry", "commands"} {
		h.await(2, "link", func(s said) bool { return s.Node == node })
	}
	run(t, "after\n", "iotagent", append(config, "send", "--lines")...)
	h.await(1, "telemetry", func(s said) bool { return s.Body == "after" })
	daemon.stop()
	if n := len(h.events("connected")); n != 1 {
		t.Errorf("%d connections", n)
	}
	h.quiet()
}

// A token in SASL PLAIN is one that another implementation accepts, too; a wrong key is told from a network that is down.
func TestPlainAndWrongKey(t *testing.T) {
	t.Parallel()
	h := newRheaHub(t, nil)
	config := h.agent(t, "")
	toml, err := os.ReadFile(config[1])
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "iotagent.toml", strings.Replace(string(toml), "[hub]", "[hub]\nauth = \"sas-plain\"", 1))
	want := h.backlog(t, config, 20)
	if drain := program(t, "iotagent", append(config, "run", "--until-drained")...); drain.wait() != 0 {
		t.Fatal("not drained")
	}
	h.checkTelemetry(want)
	if plain := h.events("plain"); len(plain) != 1 || plain[0].User != device+"@sas.localhost" || plain[0].Status != 200 {
		t.Errorf("SASL PLAIN: %+v", plain)
	}

	secret, err := os.ReadFile(h.path("device"))
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(secret), "SharedAccessKey=")
	_, rest, _ := strings.Cut(after, ";")
	h.write(t, "device", before+"SharedAccessKey="+newKey()+";"+rest)
	h.write(t, "iotagent.toml", string(toml))
	probe := program(t, "iotagent", append(config, "check", "--probe")...)
	if status := probe.wait(); status != 1 || !strings.Contains(probe.stderr()+strings.Join(probe.all(), "\n"), "invalid signature") {
		t.Errorf("status %d\n%s\n%s", status, strings.Join(probe.all(), "\n"), probe.stderr())
	}
	h.quiet()
}
