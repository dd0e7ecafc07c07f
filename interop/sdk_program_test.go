//go:build interop

package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The built program with the files that it writes: a device over TCP and a service, and a restart of the hub that the device's SDK gets over.
func TestBuiltHubsim(t *testing.T) {
	t.Parallel()
	s := &sim{t: t, dir: filepath.Join(t.TempDir(), "hub")}
	hub := s.serve("127.0.0.1:0", "127.0.0.1:0")
	text := func(name string) string {
		b, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	d := s.drive("device.js", object{"transport": "amqp", "ca": filepath.Join(s.dir, "ca.pem"), "connection": text("devices/" + device + ".connection-string")})
	d.tell("options", nil, "options")
	d.tell("open", nil, "open")
	d.tell("receive", nil, "receive")
	d.tell("send", object{"message": object{"messageId": "m1", "body": "1"}}, "sent")
	d.await("connect")
	hub.kill() // after an orderly close this SDK waits for 45 s
	s.serve("127.0.0.1:"+s.amqps, "127.0.0.1:"+s.https)
	d.await("connect")
	d.tell("send", object{"message": object{"messageId": "m2", "body": "2"}}, "sent")

	cloud := s.drive("service.js", object{"transport": "amqp", "amqp": text("service.connection-string"), "https": "HostName=localhost;" + strings.SplitN(text("owner.connection-string"), ";", 2)[1]})
	cloud.tell("open", nil, "open")
	cloud.tell("feedback", nil, "watching")
	cloud.tell("send", object{"device": device, "message": object{"messageId": "c1", "ack": "full", "body": "x"}}, "sent")
	if r := d.await("command"); r.ID != "c1" {
		t.Errorf("command %+v", r)
	}
	d.tell("settle", object{"answers": [][]string{{"c1", "reject"}}}, "settled")
	if r := cloud.await("feedback"); r.ID != "c1" || r.Code != "Rejected" {
		t.Errorf("feedback %s", r.Record)
	}
	cloud.tell("registry", object{"call": "get", "args": []any{device}}, "registry")

	out := run(t, "", "hubctl", "--connection-string-file", filepath.Join(s.dir, "service.connection-string"), "--ca", filepath.Join(s.dir, "ca.pem"),
		"events", "--from", "earliest", "--count", "1", "--json")
	var event struct {
		MessageID string `json:"message_id"`
	}
	if err := json.Unmarshal([]byte(strings.Split(out, "\n")[0]), &event); err != nil || event.MessageID == "" {
		t.Errorf("hubctl events: %s: %v", out, err)
	}
}

// serve starts the built hubsim and notes its ports.
func (s *sim) serve(amqps, https string) *process {
	s.t.Helper()
	p := program(s.t, "hubsim", "--listen", amqps, "--https", https, "--state", s.dir, "--device", device)
	p.until("it says where it listens", func(lines []string) bool {
		for _, line := range lines {
			fields := strings.Fields(line)
			switch {
			case strings.HasPrefix(line, "hubsim listens on "):
				s.amqps = line[strings.LastIndex(line, ":")+1:]
			case len(fields) == 2 && fields[0] == "https":
				s.https = line[strings.LastIndex(line, ":")+1:]
			}
		}
		return s.amqps != "" && s.https != "" && len(lines) > 3
	})
	return p
}
