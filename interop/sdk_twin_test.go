//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iotagent/hubsim"
)

// same fails the test unless two pieces of JSON say the same.
func same(t *testing.T, what string, got json.RawMessage, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Errorf("%s: %s: %v", what, got, err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// has waits until the device has a link of that kind in both directions.
func (s *sim) has(kind string) {
	s.t.Helper()
	s.until("links to "+kind, func() bool {
		links := slices.DeleteFunc(s.Links(device), func(l string) bool { return !strings.Contains(l, kind) })
		return len(links) == 2
	})
}

// part returns what lies below these names in an object.
func part(t *testing.T, body json.RawMessage, path ...string) json.RawMessage {
	t.Helper()
	for _, name := range path {
		var o map[string]json.RawMessage
		if err := json.Unmarshal(body, &o); err != nil {
			t.Fatalf("%s in %s: %v", name, body, err)
		}
		body = o[name]
	}
	return body
}

func TestTwin(t *testing.T) {
	transports(t, func(t *testing.T, transport string) {
		s := newSim(t, hubsim.Options{})
		if err := s.UpdateDesired(device, `{"interval":10,"mode":{"night":true}}`); err != nil {
			t.Fatal(err)
		}
		d := s.device(transport, nil)
		d.tell("open", nil, "open")
		same(t, "twin", part(t, d.tell("twin", nil, "twin").Properties, "desired"), `{"interval":10,"mode":{"night":true},"$version":2}`)
		d.do("watch", nil)
		if r := d.await("desired"); r.Event != "desired" { // the SDK hands a new listener what it knows
			t.Error(r)
		}
		d.tell("report", object{"patch": object{"firmware": object{"version": "1.2", "build": 7}, "stale": 1}}, "reported")
		d.tell("report", object{"patch": object{"stale": nil}}, "reported")
		twin, err := s.Twin(device)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "reported", twin.Reported, `{"firmware":{"version":"1.2","build":7},"$version":3}`)

		cloud := s.service("amqp", "iothubowner")
		r := cloud.tell("registry", object{"call": "getTwin", "args": []any{device}}, "registry")
		same(t, "reported, as the service sees it", part(t, r.Result, "properties", "reported", "firmware"), `{"version":"1.2","build":7}`)
		etag := string(part(t, r.Result, "etag"))
		patch := object{"tags": object{"site": "roof"}, "properties": object{"desired": object{"interval": 5, "mode": nil}}}
		r = cloud.tell("registry", object{"call": "updateTwin", "args": []any{device, patch, strings.Trim(etag, `"`)}}, "registry")
		same(t, "tags", part(t, r.Result, "tags"), `{"site":"roof"}`)
		same(t, "desired notification", d.await("desired").Properties, `{"interval":5,"mode":null,"$version":3}`)
		cloud.do("registry", object{"call": "updateTwin", "args": []any{device, patch, "AAAAAAAAAAA="}})
		if text := cloud.fails(); !strings.Contains(text, "InvalidEtagError") {
			t.Errorf("an old etag: %s", text)
		}

		if s.DropConnections() == 0 {
			t.Fatal("there was nothing to drop")
		}
		d.await("connect") // the first
		d.await("connect")
		d.tell("report", object{"patch": object{"again": true}}, "reported") // after the SDK's new subscription
		if err := s.UpdateDesired(device, `{"interval":1}`); err != nil {
			t.Fatal(err)
		}
		same(t, "desired notification after a drop", d.await("desired").Properties, `{"interval":1,"$version":4}`)
		d.tell("close", nil, "closed")
	})
}

func TestMethods(t *testing.T) {
	transports(t, func(t *testing.T, transport string) {
		s := newSim(t, hubsim.Options{})
		cloud := s.service("amqp", "service")
		call := func(name string) {
			cloud.do("call", object{"device": device, "name": name, "payload": object{"seconds": 5, "why": "wartung, größer"}, "seconds": 5})
		}
		call("reboot")
		if text := cloud.fails(); !strings.Contains(text, "Not found") { // the SDK's word for status 404
			t.Errorf("a device that is not connected: %s", text)
		}
		d := s.device(transport, nil)
		d.tell("open", nil, "open")
		d.tell("method", object{"name": "reboot", "status": 202, "payload": object{"in": "5 s", "größe": []int{1, 2}}}, "method")
		s.has("methods")
		for i := range 2 {
			call("reboot")
			same(t, "payload of the call", d.await("called").Payload, `{"seconds":5,"why":"wartung, größer"}`)
			r := cloud.await("answer")
			if r.Status != 202 {
				t.Errorf("status %d", r.Status)
			}
			same(t, "payload of the answer", r.Payload, `{"in":"5 s","größe":[1,2]}`)
			d.await("answered")
			if i == 0 {
				if s.DropConnections() == 0 {
					t.Fatal("there was nothing to drop")
				}
				s.until("the links are gone", func() bool { return len(s.Links(device)) == 0 })
				s.has("methods")
			}
		}
		call("explode") // the device SDK does not answer what has no handler
		if text := cloud.fails(); !strings.Contains(text, "GatewayTimeoutError") || !strings.Contains(text, "504101") {
			t.Errorf("a method that nobody answers: %s", text)
		}
		d.tell("close", nil, "closed")
	})
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	s := newSim(t, hubsim.Options{})
	cloud := s.service("amqp", "iothubowner")
	call := func(name string, args ...any) json.RawMessage {
		t.Helper()
		return cloud.tell("registry", object{"call": name, "args": append([]any{}, args...)}, "registry").Result
	}
	primary, secondary := newKey(), newKey()
	created := call("create", object{"deviceId": "pump-1", "status": "enabled", "authentication": object{"symmetricKey": object{"primaryKey": primary, "secondaryKey": secondary}}})
	same(t, "created", part(t, created, "authentication", "symmetricKey"), fmt.Sprintf(`{"primaryKey":%q,"secondaryKey":%q}`, primary, secondary))
	cloud.do("registry", object{"call": "create", "args": []any{object{"deviceId": "pump-1"}}})
	if text := cloud.fails(); !strings.Contains(text, "DeviceAlreadyExistsError") {
		t.Errorf("created twice: %s", text)
	}
	var all []struct{ DeviceID string }
	if err := json.Unmarshal(call("list"), &all); err != nil || len(all) != 2 {
		t.Errorf("list: %v, %v", all, err)
	}

	// It connects with its second key, and loses its links when it is disabled.
	connection := "HostName=localhost;DeviceId=pump-1;SharedAccessKey=" + secondary
	d := s.device("amqp-ws", object{"connection": connection})
	d.tell("open", nil, "open")
	d.tell("send", object{"message": object{"messageId": "m", "body": "x"}}, "sent")
	disabled := call("update", object{"deviceId": "pump-1", "status": "disabled", "statusReason": "leaks", "authentication": object{"symmetricKey": object{"primaryKey": primary, "secondaryKey": secondary}}})
	same(t, "status", part(t, disabled, "status"), `"disabled"`)
	s.until("its links are gone", func() bool { return len(s.Links("pump-1")) == 0 })

	call("delete", "pump-1")
	cloud.do("registry", object{"call": "get", "args": []any{"pump-1"}})
	if text := cloud.fails(); !strings.Contains(text, "DeviceNotFoundError") {
		t.Errorf("deleted: %s", text)
	}
}

// Devices with certificates: one known by its thumbprint, one by its authority. Both connect without any token.
func TestCertificates(t *testing.T) {
	transports(t, func(t *testing.T, transport string) {
		s := newSim(t, hubsim.Options{})
		authority := newAuthority(t)
		if err := s.AddDeviceCA(authority.pem()); err != nil {
			t.Fatal(err)
		}
		self, own := newAuthority(t).issue(t, "pi-self"), authority.issue(t, "pi-ca")
		for id, c := range map[string]deviceCertificate{"pi-self": self, "pi-ca": own} {
			var prints []string
			if id == "pi-self" {
				prints = []string{c.thumbprint}
			}
			cs, err := s.AddX509Device(id, prints...)
			if err != nil {
				t.Fatal(err)
			}
			cs.GatewayHostName = "" // which the SDK does not heed with certificates
			d := s.device(transport, object{"connection": cs.Text(), "cert": c.cert, "key": c.key})
			d.tell("open", nil, "open")
			d.tell("send", object{"message": object{"messageId": id, "body": "x"}}, "sent")
			d.tell("close", nil, "closed")
		}
		if n := s.TokenRequests(); n != 0 {
			t.Errorf("%d tokens were asked for", n)
		}
		cs, err := s.AddX509Device("pi-other")
		if err != nil {
			t.Fatal(err)
		}
		cs.GatewayHostName = ""
		d := s.device(transport, object{"connection": cs.Text(), "cert": own.cert, "key": own.key}) // another device's
		d.do("open", nil)
		d.do("send", object{"message": object{"messageId": "m", "body": "x"}})
		if text := d.fails(); !strings.Contains(text, "Unauthorized") {
			t.Errorf("another device's certificate: %s", text)
		}
		if n := s.Accepted(); n != 2 {
			t.Errorf("%d messages accepted, want 2", n)
		}
	})
}
