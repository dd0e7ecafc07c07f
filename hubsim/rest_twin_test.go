package hubsim_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// part returns a member of an object as JSON, without the times in it.
func part(t *testing.T, o map[string]any, path ...string) []byte {
	t.Helper()
	var v any = o
	for _, name := range path {
		v = v.(map[string]any)[name]
	}
	if m, ok := v.(map[string]any); ok {
		delete(m, "$metadata")
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTwinOverREST(t *testing.T) {
	b := newBed(t, nil)
	w := b.serveWeb()
	const path = "/twins/pi-17?api-version=2021-04-12"
	first := w.do("GET", path, "service", "")
	o := w.object(200, first)
	if o["deviceId"] != "pi-17" || o["etag"] != "AAAAAAAAAAE=" || first.header.Get("ETag") != `"AAAAAAAAAAE="` || o["connectionState"] != "Disconnected" ||
		o["status"] != "enabled" || o["version"] != 2.0 || o["authenticationType"] != "sas" {
		t.Errorf("twin %s", first.body)
	}
	if m := o["properties"].(map[string]any)["desired"].(map[string]any)["$metadata"].(map[string]any); m["$lastUpdated"] == "" {
		t.Errorf("metadata %v", m)
	}

	l := b.connectDevice().twin()
	l.ok(twinRequest("on", "PUT", "/notifications/twin/properties/desired", " "))
	body := `{"tags":{"site":"north"},"properties":{"desired":{"a":1,"b":{"c":2}}}}`
	w.failed(412, "PreconditionFailed", w.do("PATCH", path, "service", body, "If-Match", `"AAAAAAAAAAk="`))
	o = w.object(200, w.do("PATCH", path, "service", body, "If-Match", `"AAAAAAAAAAE="`))
	sameJSON(t, part(t, o, "tags"), `{"site":"north"}`)
	sameJSON(t, part(t, o, "properties", "desired"), `{"a":1,"b":{"c":2},"$version":2}`)
	if o["etag"] == "AAAAAAAAAAE=" || o["version"] != 3.0 || o["connectionState"] != "Connected" {
		t.Errorf("twin %v", o)
	}
	sameJSON(t, l.receive(l.in).GetData(), `{"a":1,"b":{"c":2},"$version":2}`)

	// A replacement takes away what it does not name, and the device hears of that.
	o = w.object(200, w.do("PUT", path, "iothubowner", `{"properties":{"desired":{"b":{"d":3}}}}`))
	sameJSON(t, part(t, o, "properties", "desired"), `{"b":{"d":3},"$version":3}`)
	sameJSON(t, part(t, o, "tags"), `{"site":"north"}`)
	sameJSON(t, l.receive(l.in).GetData(), `{"a":null,"b":{"c":null,"d":3},"$version":3}`)

	// Reported properties are the device's, and do not change the etag.
	etag := o["etag"]
	l.ok(twinRequest("p", "PATCH", "/properties/reported", `{"r":1}`))
	o = w.object(200, w.do("PATCH", path, "service", `{"properties":{"reported":{"r":2}}}`))
	sameJSON(t, part(t, o, "properties", "reported"), `{"r":1,"$version":2}`)
	if o["etag"] != etag {
		t.Errorf("etag %v, was %v", o["etag"], etag)
	}
	o = w.object(200, w.do("PATCH", path, "service", `{"tags":null}`))
	if _, ok := o["tags"]; ok {
		t.Errorf("tags %v", o["tags"])
	}
}

func TestTwinRESTRefusals(t *testing.T) {
	b := newBed(t, nil)
	b.moduleToken()
	w := b.serveWeb()
	w.failed(404, "DeviceNotFound", w.do("GET", "/twins/ghost", "service", ""))
	w.failed(404, "ModuleNotFound", w.do("PATCH", "/twins/pi-17/modules/none", "service", "{}"))
	if o := w.object(200, w.do("GET", "/twins/pi-17/modules/edge1", "service", "")); o["moduleId"] != "edge1" {
		t.Errorf("module twin %v", o)
	}
	w.failed(401, "IotHubUnauthorizedAccess", w.do("GET", "/twins/pi-17", "device", ""))
	w.failed(400, "ArgumentInvalid", w.do("PATCH", "/twins/pi-17", "service", `{"tags":{"a b":1}}`))
	w.failed(400, "ArgumentInvalid", w.do("PATCH", "/twins/pi-17", "service", `{"tags":[]}`))
	large := `{"a":"` + strings.Repeat("x", 4000) + `","b":"` + strings.Repeat("x", 4000) + `","c":"` + strings.Repeat("x", 4000) + `"}`
	w.failed(413, "MessageTooLarge", w.do("PATCH", "/twins/pi-17", "service", `{"properties":{"desired":{"kept":"not"}},"tags":`+large+`}`))
	if twin, err := b.Twin("pi-17"); err != nil || twin.DesiredVersion != 1 {
		t.Errorf("a refused change was made in part: %+v, %v", twin, err)
	}
}

func TestMethodOverREST(t *testing.T) {
	b := newBed(t, nil)
	w := b.serveWeb()
	const path = "/twins/pi-17/methods?api-version=2021-04-12"
	offline := w.do("POST", path, "service", `{"methodName":"m","payload":1}`)
	message, _ := w.object(404, offline)["Message"].(string)
	if offline.header.Get("iothub-errorcode") != "DeviceNotOnline" || !strings.Contains(message, `"errorCode":404103`) {
		t.Errorf("offline: %s", offline.body)
	}
	l := b.connectDevice().methods()
	answered := make(chan error, 1)
	go func() {
		m, err := l.in.Receive(t.Context(), nil)
		if err == nil {
			err = l.out.Send(t.Context(), methodAnswer(m.Properties.CorrelationID, int32(200), `{"got":`+string(m.GetData())+`}`), nil)
		}
		answered <- err
	}()
	r := w.do("POST", path, "service", `{"methodName":"m","payload":{"x":1},"responseTimeoutInSeconds":20,"connectTimeoutInSeconds":5}`)
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	sameJSON(t, r.body, `{"status":200,"payload":{"got":{"x":1}}}`)

	w.failed(404, "DeviceNotFound", w.do("POST", "/twins/ghost/methods", "service", `{"methodName":"m"}`))
	w.failed(404, "ModuleNotFound", w.do("POST", "/twins/pi-17/modules/m/methods", "service", `{"methodName":"m"}`))
	w.failed(400, "ArgumentInvalid", w.do("POST", path, "service", `{"methodName":"m","responseTimeoutInSeconds":4}`))
	w.failed(400, "ArgumentInvalid", w.do("POST", path, "service", `{}`))
	w.failed(401, "IotHubUnauthorizedAccess", w.do("POST", path, "registryReadWrite", `{"methodName":"m"}`))
}
