package e2e

import (
	"slices"
	"strings"
	"testing"

	"iotagent/hubsim"
)

// Messages of one's own reach the hub whether the daemon runs or not, and send returns 0 only when a kill cannot take them.
func TestSend(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		name := map[bool]string{false: "stopped", true: "running"}[running]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, hubsim.Options{})
			h.SetTelemetryCredit(0)
			b := gateway(t, h, settings{})
			var d *process
			if running {
				d = b.run()
				h.online()
			}
			id := strings.TrimSpace(b.do(0, "", "send", "--body", `{"a":"ä"}`, "--prop", "route=x", "--prop", "k=a=b", "--lane", "alarm").out.String())
			b.do(0, "", "send", "--count", "7", "--size", "300").mentions("7 messages queued")
			b.do(0, "one\n\ntwo words\nlast without an end", "send", "--lines", "--lane", "bulk").mentions("4 messages queued")
			b.do(0, "", "send", "--lines").mentions("0 messages queued")
			b.do(1, "", "send", "--body", "x", "--prop", "seq=1").mentions(`property "seq" is the agent's own`)
			b.do(1, "", "send", "--count", "1", "--size", "300000").mentions("IoT Hub takes 262144")
			if s := b.status(); s.queued() != 12 || (s.Link.State == "stopped") == running {
				t.Errorf("status: %+v", s)
			}
			if running {
				d.kill()
			}
			h.SetTelemetryCredit(1000)
			b.do(0, "", "run", "--until-drained")
			h.whole()
			checkSent(t, h, id)
		})
	}
}

func checkSent(t *testing.T, h *hub, alarm string) {
	t.Helper()
	all := h.messages()
	if len(all) != 12 {
		t.Fatalf("%d messages", len(all))
	}
	m := all[0]
	if m.id != alarm || m.lane != "alarm" || m.body != `{"a":"ä"}` || m.properties["route"] != "x" || m.properties["k"] != "a=b" {
		t.Errorf("first: %+v", m)
	}
	for _, m := range all[1:8] {
		if m.lane != "normal" || len(m.body) != 300 {
			t.Errorf("%+v", m)
		}
	}
	var lines []string
	for _, m := range all[8:] {
		lines = append(lines, m.body)
	}
	if want := []string{"one", "", "two words", "last without an end"}; !slices.Equal(lines, want) {
		t.Errorf("lines %q, want %q", lines, want)
	}
	if types := h.Events(); types[0].ContentType != "application/json" || types[len(types)-1].ContentType != "text/plain" {
		t.Errorf("content types %q and %q", types[0].ContentType, types[len(types)-1].ContentType)
	}
}
