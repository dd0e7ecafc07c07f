package hubsim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
	"iotagent/iothub/sas"
)

func TestRegistryOverREST(t *testing.T) {
	dir := t.TempDir()
	w := newBed(t, &hubsim.Options{StateDir: dir}).serveWeb()
	key := sas.NewKey([]byte("0123456789abcdef0123456789abcdef")).Text()
	body := fmt.Sprintf(`{"deviceId":"d 1","authentication":{"symmetricKey":{"primaryKey":%q,"secondaryKey":%q}}}`, key, key)
	w.failed(400, "ArgumentInvalid", w.do("PUT", "/devices/d%201?api-version=2021-04-12", "iothubowner", body))

	body = strings.ReplaceAll(body, "d 1", "d:1")
	created := w.object(200, w.do("PUT", "/devices/d%3A1?api-version=2021-04-12", "registryReadWrite", body))
	for name, want := range map[string]any{
		"deviceId": "d:1", "status": "enabled", "statusReason": nil, "connectionState": "Disconnected",
		"lastActivityTime": "0001-01-01T00:00:00Z", "cloudToDeviceMessageCount": 0.0,
	} {
		if got, ok := created[name]; !ok || got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	auth := created["authentication"].(map[string]any)
	if auth["type"] != "sas" || auth["symmetricKey"].(map[string]any)["primaryKey"] != key || created["generationId"] == "" || created["etag"] == "" {
		t.Errorf("created %v", created)
	}
	w.failed(409, "DeviceAlreadyExists", w.do("PUT", "/devices/d:1", "iothubowner", body))

	got := w.do("GET", "/devices/d:1", "registryRead", "")
	if w.object(200, got)["etag"] != created["etag"] || got.header.Get("ETag") != fmt.Sprintf("%q", created["etag"]) {
		t.Errorf("got %s, ETag %s; created %v", got.body, got.header.Get("ETag"), created)
	}

	// Disable it by its etag; keys that are not in the request stay.
	etag := fmt.Sprintf("%q", created["etag"])
	disabled := `{"deviceId":"d:1","status":"disabled","statusReason":"stolen"}`
	w.failed(412, "PreconditionFailed", w.do("PUT", "/devices/d:1", "iothubowner", disabled, "If-Match", `"old"`))
	o := w.object(200, w.do("PUT", "/devices/d:1", "iothubowner", disabled, "If-Match", etag))
	if o["status"] != "disabled" || o["statusReason"] != "stolen" || o["etag"] == created["etag"] || o["generationId"] != created["generationId"] {
		t.Errorf("updated %v", o)
	}
	if c := w.Devices()["d:1"]; c.Key.Text() != key {
		t.Error("the keys changed")
	}
	again, err := hubsim.New(&hubsim.Options{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if c := again.Devices()["d:1"]; c.Key.Text() != key {
		t.Error("the device did not survive a restart")
	}
	w.failed(412, "PreconditionFailed", w.do("DELETE", "/devices/d:1", "iothubowner", "", "If-Match", etag))
	if r := w.do("DELETE", "/devices/d:1", "iothubowner", "", "If-Match", `"*"`); r.status != 204 || len(r.body) != 0 {
		t.Errorf("delete: %d %s", r.status, r.body)
	}
	for _, method := range []string{"GET", "DELETE"} {
		w.failed(404, "DeviceNotFound", w.do(method, "/devices/d:1", "iothubowner", ""))
	}
	w.failed(404, "DeviceNotFound", w.do("PUT", "/devices/d:1", "iothubowner", body, "If-Match", "*"))
}

func TestRESTListsAndCounts(t *testing.T) {
	b := newBed(t, nil)
	for _, id := range []string{"a", "b"} {
		if _, err := b.AddDevice(id); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.DisableDevice("b"); err != nil {
		t.Fatal(err)
	}
	w := b.serveWeb()
	if o := w.object(200, w.do("PUT", "/devices/pi-17/modules/edge1", "iothubowner", `{"deviceId":"pi-17","moduleId":"edge1"}`)); o["moduleId"] != "edge1" {
		t.Errorf("module %v", o)
	}
	w.failed(409, "ModuleAlreadyExistsOnDevice", w.do("PUT", "/devices/pi-17/modules/edge1", "iothubowner", `{"deviceId":"pi-17","moduleId":"edge1"}`))
	w.failed(404, "DeviceNotFound", w.do("PUT", "/devices/x/modules/m", "iothubowner", `{"deviceId":"x","moduleId":"m"}`))
	w.failed(404, "ModuleNotFound", w.do("GET", "/devices/pi-17/modules/none", "iothubowner", ""))
	c := b.connectDevice()
	accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage(nil)))

	ids := func(path string) string {
		var all []struct{ DeviceID, ModuleID, ConnectionState string }
		r := w.do("GET", path, "iothubowner", "")
		if err := json.Unmarshal(r.body, &all); err != nil {
			t.Fatalf("%s: %s", path, r.body)
		}
		return fmt.Sprint(all)
	}
	for path, want := range map[string]string{
		"/devices":               "[{a  Disconnected} {b  Disconnected} {pi-17  Connected}]",
		"/devices?top=2":         "[{a  Disconnected} {b  Disconnected}]",
		"/devices/pi-17/modules": "[{pi-17 edge1 Disconnected}]",
		"/devices/?top=1":        "[{a  Disconnected}]",
		"/devices/a/modules":     "[]",
	} {
		if got := ids(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	w.failed(400, "ArgumentInvalid", w.do("GET", "/devices?top=0", "iothubowner", ""))
	if got := string(w.do("GET", "/statistics/devices", "registryRead", "").body); got != `{"totalDeviceCount":3,"enabledDeviceCount":2,"disabledDeviceCount":1}` {
		t.Error(got)
	}
	if got := string(w.do("GET", "/statistics/service", "service", "").body); got != `{"connectedDeviceCount":1}` {
		t.Error(got)
	}
}

func TestPurgeOverREST(t *testing.T) {
	b := newBed(t, nil)
	for range 2 {
		if err := b.SendCommand("pi-17", &amqp.Message{ApplicationProperties: map[string]any{"iothub-ack": "full"}}); err != nil {
			t.Fatal(err)
		}
	}
	w := b.serveWeb()
	if got := string(w.do("DELETE", "/devices/pi-17/commands", "service", "").body); got != `{"totalMessagesPurged":2,"deviceId":"pi-17","moduleId":null}` {
		t.Error(got)
	}
	records, err := b.WaitFeedback(stepContext(t), 2)
	if err != nil || records[0].StatusCode != "Purged" {
		t.Errorf("feedback %v, %v", records, err)
	}
	w.failed(404, "DeviceNotFound", w.do("DELETE", "/devices/ghost/commands", "service", ""))
}

func TestRESTRights(t *testing.T) {
	b := newBed(t, nil)
	w := b.serveWeb()
	put := `{"deviceId":"pi-17"}`
	for _, tc := range []struct {
		method, path, policy string
		status               int
	}{
		{"GET", "/devices/pi-17", "registryRead", 200},
		{"GET", "/devices/pi-17", "registryReadWrite", 200},
		{"GET", "/devices/pi-17", "iothubowner", 200},
		{"GET", "/devices/pi-17", "service", 401},
		{"GET", "/devices/pi-17", "device", 401},
		{"GET", "/devices/pi-17", "", 401},
		{"PUT", "/devices/pi-17", "registryRead", 401},
		{"PUT", "/devices/pi-17", "registryReadWrite", 409},
		{"DELETE", "/devices/pi-17", "registryRead", 401},
		{"DELETE", "/devices/pi-17/commands", "registryReadWrite", 401},
		{"GET", "/nothing", "iothubowner", 404},
		{"POST", "/devices/pi-17", "iothubowner", 404},
	} {
		if r := w.do(tc.method, tc.path, tc.policy, put); r.status != tc.status {
			t.Errorf("%s %s as %q: %d, want %d; %s", tc.method, tc.path, tc.policy, r.status, tc.status, r.body)
		}
	}
	owner, err := b.ServiceConnection("iothubowner")
	if err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(time.Hour)
	for name, tc := range map[string]struct {
		token  string
		status int
	}{
		"expired":     {owner.Key.Token("localhost", time.Now().Add(-time.Minute), "iothubowner"), 401},
		"wrong key":   {b.device.Key.Token("localhost", soon, "iothubowner"), 401},
		"device's":    {b.deviceToken(time.Hour), 401},
		"nonsense":    {"Bearer x", 401},
		"this path":   {owner.Key.Token("localhost/devices/pi-17", soon, "iothubowner"), 200},
		"another one": {owner.Key.Token("localhost/devices/pi-1", soon, "iothubowner"), 401},
	} {
		r := w.do("GET", "/devices/pi-17", "", "", "Authorization", tc.token)
		if r.status != tc.status {
			t.Errorf("%s: %d, want %d; %s", name, r.status, tc.status, r.body)
		}
		if r.status == 401 {
			w.failed(401, "IotHubUnauthorizedAccess", r)
		}
	}
}

func TestRESTBadRequests(t *testing.T) {
	w := newBed(t, nil).serveWeb()
	for name, body := range map[string]string{
		"not JSON":       `{`,
		"another id":     `{"deviceId":"other"}`,
		"status":         `{"deviceId":"n","status":"gone"}`,
		"one key":        `{"deviceId":"n","authentication":{"symmetricKey":{"primaryKey":"AAAAAAAAAAAAAAAAAAAAAA=="}}}`,
		"short keys":     `{"deviceId":"n","authentication":{"symmetricKey":{"primaryKey":"AAAA","secondaryKey":"AAAA"}}}`,
		"type":           `{"deviceId":"n","authentication":{"type":"magic"}}`,
		"thumbprint":     `{"deviceId":"n","authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"12"}}}`,
		"no thumbprints": `{"deviceId":"n","authentication":{"type":"selfSigned"}}`,
	} {
		r := w.do("PUT", "/devices/n", "iothubowner", body)
		if r.status != 400 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	w.failed(413, "MessageTooLarge", w.do("PUT", "/devices/n", "iothubowner", `{"deviceId":"`+strings.Repeat("n", 600<<10)+`"}`))
	if _, ok := w.Devices()["n"]; ok {
		t.Error("a bad request made a device")
	}
}
