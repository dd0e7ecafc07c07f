package hubsim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"iotagent/hubsim"
)

const twinAddress = "/devices/pi-17/twin"

// twinLinks is a device's pair of links to its twin.
type twinLinks struct {
	*client
	out *amqp.Sender
	in  *amqp.Receiver
}

func (c *client) twin() *twinLinks {
	return &twinLinks{c, c.sender(twinAddress), c.receiver(twinAddress, &amqp.ReceiverOptions{Credit: 10})}
}

func twinRequest(id any, operation, resource string, body string) *amqp.Message {
	m := &amqp.Message{
		Properties:  &amqp.MessageProperties{CorrelationID: id},
		Annotations: amqp.Annotations{"operation": operation},
		Data:        [][]byte{[]byte(body)},
	}
	if resource != "" {
		m.Annotations["resource"] = resource
	}
	return m
}

// ask sends one request and returns the answer, whose correlation-id and status must be of the right types.
func (l *twinLinks) ask(m *amqp.Message) (int32, *amqp.Message) {
	l.t.Helper()
	accepted(l.t, l.send(l.out, m))
	answer := l.receive(l.in)
	status, ok := answer.Annotations["status"].(int32)
	if !ok {
		l.t.Fatalf("status is a %T, clients insist on an int", answer.Annotations["status"])
	}
	if diff := cmp.Diff(m.Properties.CorrelationID, answer.Properties.CorrelationID); diff != "" {
		l.t.Errorf("correlation-id: %s", diff)
	}
	return status, answer
}

func (l *twinLinks) ok(m *amqp.Message) *amqp.Message {
	l.t.Helper()
	status, answer := l.ask(m)
	if status != 200 {
		l.t.Fatalf("status %d: %s", status, answer.GetData())
	}
	return answer
}

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTwinGetAndPatch(t *testing.T) {
	b := newBed(t, nil)
	l := b.connectDevice().twin()
	for _, id := range []any{"text", amqp.UUID{1, 2}, uint64(3), []byte{4}} {
		answer := l.ok(twinRequest(id, "GET", "", " "))
		sameJSON(t, answer.GetData(), `{"desired":{"$version":1},"reported":{"$version":1}}`)
	}
	answer := l.ok(twinRequest("p", "PATCH", "/properties/reported", `{"a":{"b":1,"c":2},"big":4503599627370495,"f":1.50}`))
	if v, ok := answer.Annotations["version"].(int64); !ok || v != 2 {
		t.Errorf("version is %T %v, want a long of 2", answer.Annotations["version"], answer.Annotations["version"])
	}
	if len(answer.GetData()) != 0 {
		t.Errorf("the answer to a patch has the body %q", answer.GetData())
	}
	l.ok(twinRequest("p", "PATCH", "/properties/reported", `{"a":{"b":null,"d":[1,{"e":true}]},"$version":77}`))
	if err := b.UpdateDesired("pi-17", `{"x":1}`); err != nil {
		t.Fatal(err)
	}
	got := l.ok(twinRequest("g", "GET", "", "")).GetData()
	sameJSON(t, got, `{"desired":{"x":1,"$version":2},"reported":{"a":{"c":2,"d":[1,{"e":true}]},"big":4503599627370495,"f":1.5,"$version":3}}`)
	if !strings.Contains(string(got), `"f":1.50`) || !strings.Contains(string(got), "4503599627370495") {
		t.Errorf("numbers were changed: %s", got)
	}
	twin, err := b.Twin("pi-17")
	if err != nil || twin.DesiredVersion != 2 || twin.ReportedVersion != 3 {
		t.Errorf("%+v, %v", twin, err)
	}
	sameJSON(t, twin.Desired, `{"x":1,"$version":2}`)
	sameJSON(t, twin.Tags, `{}`)
}

func TestTwinPatchWithAVersion(t *testing.T) {
	b := newBed(t, nil)
	l := b.connectDevice().twin()
	patch := twinRequest("p", "PATCH", "/properties/reported", `{"a":1}`)
	for _, tc := range []struct {
		version any
		want    int32
	}{{int64(1), 200}, {int64(1), 412}, {int32(2), 200}, {nil, 200}, {"5", 412}} {
		patch.Annotations["version"] = tc.version
		if status, _ := l.ask(patch); status != tc.want {
			t.Errorf("version %v: %d, want %d", tc.version, status, tc.want)
		}
	}
}

func TestTwinBadRequests(t *testing.T) {
	l := newBed(t, nil).connectDevice().twin()
	deep := strings.Repeat(`{"a":`, 11) + "1" + strings.Repeat("}", 11)
	long := strings.Repeat("x", 4097)
	var many []string
	for i := range 9 {
		many = append(many, fmt.Sprintf(`"k%d":%q`, i, long[:4096]))
	}
	reported := "/properties/reported"
	for name, tc := range map[string]struct {
		operation, resource, body string
		want                      int32
	}{
		"no such operation":   {"POST", "", "{}", 400},
		"no operation":        {"", "", "{}", 400},
		"patch of desired":    {"PATCH", "/properties/desired", "{}", 400},
		"patch of nothing":    {"PATCH", "", "{}", 400},
		"subscribe elsewhere": {"PUT", reported, " ", 400},
		"not JSON":            {"PATCH", reported, "{", 400},
		"not an object":       {"PATCH", reported, "[]", 400},
		"null":                {"PATCH", reported, "null", 400},
		"two objects":         {"PATCH", reported, "{} {}", 400},
		"a dot":               {"PATCH", reported, `{"a.b":1}`, 400},
		"a dollar":            {"PATCH", reported, `{"a":{"$version":1}}`, 400},
		"a control":           {"PATCH", reported, `{"a\u0007":1}`, 400},
		"no name":             {"PATCH", reported, `{"":1}`, 400},
		"a long text":         {"PATCH", reported, `{"a":"` + long + `"}`, 400},
		"a large integer":     {"PATCH", reported, `{"a":4503599627370496}`, 400},
		"a huge integer":      {"PATCH", reported, `{"a":99999999999999999999}`, 400},
		"null in an array":    {"PATCH", reported, `{"a":[null]}`, 400},
		"too deep":            {"PATCH", reported, deep, 400},
		"too large":           {"PATCH", reported, "{" + strings.Join(many, ",") + "}", 413},
		"as deep as allowed":  {"PATCH", reported, deep[len(`{"a":`) : len(deep)-1], 200},
	} {
		status, answer := l.ask(twinRequest(name, tc.operation, tc.resource, tc.body))
		if status != tc.want {
			t.Errorf("%s: status %d, want %d; %s", name, status, tc.want, answer.GetData())
		}
	}
	m := twinRequest(nil, "GET", "", " ")
	m.Properties = nil
	rejectedWith(t, l.send(l.out, m), "com.microsoft:argument-error")
}

func TestDesiredNotifications(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	l := c.twin()
	desired := "/notifications/twin/properties/desired"
	update := func(patch string) {
		if err := b.UpdateDesired("pi-17", patch); err != nil {
			t.Fatal(err)
		}
	}
	update(`{"early":1}`) // nobody has asked: not sent
	l.ok(twinRequest("on", "PUT", desired, " "))
	update(`{"a":{"b":1},"early":null}`)
	m := l.receive(l.in)
	if m.Properties != nil && m.Properties.CorrelationID != nil {
		t.Errorf("a notification has the correlation-id %v", m.Properties.CorrelationID)
	}
	if m.Annotations["resource"] != "/properties/desired" {
		t.Errorf("annotations %v", m.Annotations)
	}
	sameJSON(t, m.GetData(), `{"a":{"b":1},"early":null,"$version":3}`)
	l.ok(twinRequest("off", "DELETE", desired, " "))
	update(`{"a":2}`)
	// The next message is an answer and not the change.
	sameJSON(t, l.ok(twinRequest("g", "GET", "", " ")).GetData(), `{"desired":{"a":2,"$version":4},"reported":{"$version":1}}`)

	// A new pair of links has to ask again; a change without any is not kept.
	l.ok(twinRequest("on", "PUT", desired, " "))
	if err := l.out.Close(stepContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := b.WaitFor(t.Context(), func() bool { return len(b.Links("pi-17")) == 1 }); err != nil { // it answers a detach before it acts on it
		t.Fatal(err)
	}
	update(`{"a":3}`)
	l.out = c.sender(twinAddress)
	l.ok(twinRequest("g", "GET", "", " "))
	l.ok(twinRequest("on", "PUT", desired, " "))
	update(`{"a":4}`)
	sameJSON(t, l.receive(l.in).GetData(), `{"a":4,"$version":6}`)
}

func TestTwinLinksBelongToTheirIdentity(t *testing.T) {
	b := newBed(t, nil)
	token := b.moduleToken()
	c := b.connect(nil)
	c.authorize(token)
	c.authorize(b.deviceToken(time.Hour)) // both on one connection
	device := c.twin()
	address := "/devices/pi-17/modules/edge1/twin"
	module := &twinLinks{c, c.sender(address), c.receiver(address, &amqp.ReceiverOptions{Credit: 10})}
	module.ok(twinRequest("m", "PATCH", "/properties/reported", `{"of":"module"}`))
	device.ok(twinRequest("d", "PATCH", "/properties/reported", `{"of":"device"}`))
	for id, want := range map[string]string{"pi-17": "device", "pi-17/edge1": "module"} {
		twin, err := b.Twin(id)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, twin.Reported, fmt.Sprintf(`{"of":%q,"$version":2}`, want))
	}
	if got := b.Links("pi-17"); len(got) != 2 || got[0] != twinAddress {
		t.Errorf("links %v", got)
	}
}

func TestTwinAnswerWaitsForCredit(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	out := c.sender(twinAddress)
	accepted(t, c.send(out, twinRequest("early", "GET", "", " ")))
	if m := c.receive(c.receiver(twinAddress, nil)); m.Properties.CorrelationID != "early" {
		t.Errorf("got %v", m.Properties)
	}
}

func TestTwinAnswersThatNobodyTakes(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	out := c.sender(twinAddress)
	for n := range 1003 { // three more than are kept
		accepted(t, c.send(out, twinRequest(uint64(n), "GET", "", " ")))
	}
	r := c.receiver(twinAddress, &amqp.ReceiverOptions{Credit: 10})
	if id := c.receive(r).Properties.CorrelationID; id != uint64(3) {
		t.Errorf("the first answer is %v, want the oldest that is kept", id)
	}
	// What a receiver has left behind is not for the next one.
	if err := r.Close(stepContext(t)); err != nil {
		t.Fatal(err)
	}
	l := &twinLinks{c, out, c.receiver(twinAddress, nil)}
	l.ok(twinRequest("fresh", "GET", "", " "))
}

func TestTwinErrors(t *testing.T) {
	b := newBed(t, nil)
	if _, err := b.Twin("ghost"); !errors.Is(err, hubsim.ErrUnknownDevice) {
		t.Errorf("a twin of nobody: %v", err)
	}
	for _, patch := range []string{"", "[]", `{"a.b":1}`} {
		if err := b.UpdateDesired("pi-17", patch); err == nil {
			t.Errorf("%q was taken", patch)
		}
	}
	twin, err := b.Twin("pi-17")
	if err != nil || twin.DesiredVersion != 1 {
		t.Errorf("version %d, %v", twin.DesiredVersion, err)
	}
}
