//go:build interop

package interop

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/hubsim"
)

// A burst of commands from the service SDK to the device SDK, settled in each way, and the feedback of each.
func TestCommandsBetweenTheSDKs(t *testing.T) {
	transports(t, func(t *testing.T, transport string) {
		s := newSim(t, hubsim.Options{FeedbackDelay: 20 * time.Millisecond})
		cloud := s.service(transport, "service")
		cloud.tell("open", nil, "open")
		cloud.tell("feedback", nil, "watching")
		expiry := time.Now().Add(time.Hour).UnixMilli()
		for _, id := range []string{"done", "refused", "later", "silent"} {
			ack := "full"
			if id == "silent" {
				ack = "none"
			}
			cloud.tell("send", object{"device": device, "message": object{
				"messageId": id, "correlationId": "c-" + id, "ack": ack, "expiryTimeUtc": expiry, "body": `{"do":"` + id + `"}`, "properties": object{"command": id, "größe": "ä"},
			}}, "sent")
		}
		d := s.device(transport, nil)
		d.tell("open", nil, "open")
		d.tell("receive", nil, "receive")
		for _, id := range []string{"done", "refused", "later", "silent"} {
			r := d.await("command")
			if r.ID != id || r.Correlation != "c-"+id || r.Body != `{"do":"`+id+`"}` || r.To == "" || r.Expiry != expiry {
				t.Errorf("%s arrived as %+v", id, r)
			}
			var properties map[string]string
			if err := json.Unmarshal(r.Properties, &properties); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(map[string]string{"command": id, "größe": "ä"}, properties); diff != "" {
				t.Errorf("properties of %s (-sent +got):\n%s", id, diff)
			}
		}
		d.tell("settle", object{"answers": [][]string{{"done", "complete"}, {"refused", "reject"}, {"later", "abandon"}, {"silent", "complete"}}}, "settled")
		if r := d.await("command"); r.ID != "later" {
			t.Errorf("%s was delivered again, want the abandoned one", r.ID)
		}
		d.tell("settle", object{"answers": [][]string{{"later", "complete"}}}, "settled")
		codes := map[string]string{}
		for range 3 {
			r := cloud.await("feedback")
			codes[r.ID] = r.Code
			if r.Device != device {
				t.Errorf("feedback %s", r.Record)
			}
		}
		if diff := cmp.Diff(map[string]string{"done": "Success", "refused": "Rejected", "later": "Success"}, codes); diff != "" {
			t.Errorf("feedback (-want +got):\n%s", diff)
		}
		cloud.await("completed")
		if n := s.Queued(device); n != 0 {
			t.Errorf("%d commands are still queued", n)
		}
		cloud.tell("close", nil, "closed")
		d.tell("close", nil, "closed")
	})
}

// The service SDK takes each refusal for what it is.
func TestServiceRefused(t *testing.T) {
	transports(t, func(t *testing.T, transport string) {
		s := newSim(t, hubsim.Options{QueueLimit: 2})
		cloud := s.service(transport, "service")
		cloud.tell("open", nil, "open")
		send := func(to string) {
			cloud.do("send", object{"device": to, "message": object{"messageId": "m", "body": "x"}})
		}
		send("pi-18")
		if text := cloud.fails(); !strings.Contains(text, "DeviceNotFoundError") {
			t.Errorf("unknown device: %s", text)
		}
		for range 2 {
			send(device)
			cloud.await("sent")
		}
		send(device)
		if text := cloud.fails(); !strings.Contains(text, "DeviceMaximumQueueDepthExceededError") {
			t.Errorf("full queue: %s", text)
		}
		cloud.tell("close", nil, "closed")

		wrong := s.service(transport, "device") // a policy without the right
		wrong.do("open", nil)
		wrong.do("send", object{"device": device, "message": object{"messageId": "m", "body": "x"}})
		if text := wrong.fails(); !strings.Contains(text, "UnauthorizedError") {
			t.Errorf("policy without the right: %s", text)
		}
	})
}

// The feedback receiver of the SDK goes on after a lost connection.
func TestFeedbackIsRedelivered(t *testing.T) {
	t.Parallel()
	s := newSim(t, hubsim.Options{FeedbackDelay: 20 * time.Millisecond})
	cloud := s.service("amqp", "service")
	cloud.tell("open", nil, "open")
	d := s.device("amqp", nil)
	d.tell("open", nil, "open")
	d.tell("receive", nil, "receive")
	for _, id := range []string{"one", "two"} {
		cloud.tell("send", object{"device": device, "message": object{"messageId": id, "ack": "positive", "body": "x"}}, "sent")
		d.await("command")
		d.tell("settle", object{"answers": [][]string{{id, "complete"}}}, "settled")
		cloud.tell("feedback", nil, "watching")
		if r := cloud.await("feedback"); r.ID != id || r.Code != "Success" {
			t.Errorf("feedback %s", r.Record)
		}
		cloud.await("completed")
		if id == "one" {
			cloud.tell("close", nil, "closed")
			cloud.tell("open", nil, "open")
		}
	}
}
