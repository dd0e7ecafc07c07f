package service_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/hubsim"
	"iotagent/iothub/sas"
	"iotagent/iothub/service"
)

// web is a hub with its REST API on loopback, behind TLS.
type web struct {
	*bed
	addr string
}

func newWeb(t *testing.T) *web {
	t.Helper()
	s, err := hubsim.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.ListenHTTPS(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServeHTTPS(context.WithoutCancel(t.Context()), l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	return &web{&bed{s, t}, l.Addr().String()}
}

// as is the client that a policy lets in; the certificate is checked against the hub's name, not against the address.
func (w *web) as(policy string) *service.Client {
	w.t.Helper()
	c, err := service.New(&service.Options{
		Connection: w.policy(policy), HTTPS: w.addr, TLS: &tls.Config{RootCAs: w.CertPool(), MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func TestDevicesFromBirthToDeath(t *testing.T) {
	w := newWeb(t)
	c, ctx := w.as("iothubowner"), t.Context()
	const id = "pi-17%(a)" // an id that has to be escaped
	created, err := c.CreateDevice(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if created.ID != id || created.Status != "enabled" || created.Authentication != "sas" || created.ConnectionState != "Disconnected" || created.ETag == "" || !created.LastActivity.IsZero() {
		t.Errorf("created %+v", created)
	}
	want := w.Devices()[id]
	if cs, ok := c.ConnectionString(created); !ok || !cs.Key.Equal(want.Key) || cs.DeviceID != id || cs.HostName != "localhost" {
		t.Errorf("connection string %v, %v", cs, ok)
	}
	if _, err := c.CreateDevice(ctx, id); !errors.Is(err, service.ErrDeviceExists) {
		t.Errorf("created twice: %v", err)
	}
	disabled, err := c.SetDeviceStatus(ctx, id, false, "moved <away>")
	if err != nil || disabled.Status != "disabled" || disabled.StatusReason != "moved <away>" || disabled.ETag == created.ETag || !disabled.Primary.Equal(created.Primary) || !disabled.Secondary.Equal(created.Secondary) {
		t.Errorf("disabled %+v: %v", disabled, err)
	}
	if d, err := c.SetDeviceStatus(ctx, id, true, ""); err != nil || d.Status != "enabled" || d.StatusReason != "" {
		t.Errorf("enabled %+v: %v", d, err)
	}
	if _, err := c.CreateDevice(ctx, "another"); err != nil {
		t.Fatal(err)
	}
	all, err := c.Devices(ctx)
	if err != nil || len(all) != 2 || all[0].ID != "another" || all[1].ID != id {
		t.Errorf("listed %v: %v", all, err)
	}
	shown, err := c.Device(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(shown); err != nil || !strings.Contains(string(text), `"deviceId":"pi-17%(a)"`) || strings.Contains(string(text), created.Primary.Text()) {
		t.Errorf("%s: %v", text, err)
	}
	if err := c.DeleteDevice(ctx, id); err != nil {
		t.Error(err)
	}
	if _, err := c.Device(ctx, id); !errors.Is(err, service.ErrDeviceUnknown) {
		t.Errorf("deleted: %v", err)
	}
	if err := c.DeleteDevice(ctx, id); !errors.Is(err, service.ErrDeviceUnknown) {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestTwins(t *testing.T) {
	w := newWeb(t)
	if _, err := w.AddDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	c, ctx := w.as("service"), t.Context()
	first, err := c.Twin(ctx, "pi-17")
	if err != nil || first.DeviceID != "pi-17" || first.ETag == "" || first.ConnectionState != "Disconnected" {
		t.Fatalf("%+v: %v", first, err)
	}
	patch := func(etag, desired string) (*service.Twin, error) {
		return c.UpdateTwin(ctx, "pi-17", &service.TwinPatch{Desired: json.RawMessage(desired), ETag: etag})
	}
	second, err := c.UpdateTwin(ctx, "pi-17", &service.TwinPatch{Tags: json.RawMessage(`{"site":"hall <3>"}`), Desired: json.RawMessage(`{"interval":10,"net":{"ssid":"x"}}`)})
	if err != nil || second.ETag == first.ETag || second.Version <= first.Version || string(second.Tags) != `{"site":"hall \u003c3\u003e"}` {
		t.Errorf("changed: %s: %v", second.Tags, err)
	}
	if _, err := patch(first.ETag, `{"interval":11}`); !errors.Is(err, service.ErrChanged) {
		t.Errorf("an old etag: %v", err)
	}
	third, err := patch(second.ETag, `{"interval":null}`)
	var desired struct {
		Interval *int
		Net      map[string]string
		Version  int `json:"$version"`
	}
	if err != nil || json.Unmarshal(third.Desired, &desired) != nil || desired.Interval != nil || desired.Net["ssid"] != "x" || desired.Version != 3 {
		t.Errorf("%+v: %v", desired, err)
	}
	for _, bad := range []string{"", "7", "[]", "null", "{", "{} {}"} {
		if _, err := patch("", bad); err == nil || !strings.Contains(err.Error(), "JSON object") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := patch("", `{"a.b":1}`); err == nil || !strings.Contains(err.Error(), "status 400") {
		t.Errorf("a name with a dot: %v", err)
	}
	if _, err := c.UpdateTwin(ctx, "pi-17", &service.TwinPatch{}); err == nil {
		t.Error("an empty patch was sent")
	}
	if _, err := c.Twin(ctx, "pi-18"); !errors.Is(err, service.ErrDeviceUnknown) {
		t.Errorf("unknown: %v", err)
	}
}

func TestCallsThatCannotBe(t *testing.T) {
	w := newWeb(t)
	if _, err := w.AddDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	c := w.as("service")
	for name, test := range map[string]struct {
		device string
		call   service.MethodCall
		want   error
		text   string
	}{
		"offline":         {"pi-17", service.MethodCall{Name: "reboot"}, service.ErrDeviceOffline, "call reboot of pi-17: the device is not online: status 404 DeviceNotOnline (404103)"},
		"unknown":         {"pi-18", service.MethodCall{Name: "reboot"}, service.ErrDeviceUnknown, "no such device: status 404 DeviceNotFound: Device pi-18 not registered."},
		"no name":         {"pi-17", service.MethodCall{}, nil, "no name"},
		"no JSON":         {"pi-17", service.MethodCall{Name: "x", Payload: []byte("{")}, nil, "not JSON"},
		"too short":       {"pi-17", service.MethodCall{Name: "x", ResponseTimeout: time.Second}, nil, "response timeout 1s"},
		"odd":             {"pi-17", service.MethodCall{Name: "x", ResponseTimeout: 5500 * time.Millisecond}, nil, "whole seconds"},
		"too long a wait": {"pi-17", service.MethodCall{Name: "x", ConnectTimeout: 301 * time.Second}, nil, "connect timeout 5m1s"},
	} {
		_, err := c.Call(t.Context(), test.device, &test.call)
		if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRightsOfTheRestAPI(t *testing.T) {
	w := newWeb(t)
	if _, err := w.AddDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.as("service").Devices(t.Context()); !errors.Is(err, service.ErrUnauthorized) {
		t.Errorf("the registry to a policy without the right: %v", err)
	}
	if _, err := w.as("registryRead").CreateDevice(t.Context(), "pi-18"); !errors.Is(err, service.ErrUnauthorized) {
		t.Errorf("writing to a policy that may read: %v", err)
	}
	if _, err := w.as("device").Twin(t.Context(), "pi-17"); !errors.Is(err, service.ErrUnauthorized) {
		t.Errorf("a twin to a policy for devices: %v", err)
	}
}

// standIn is a client of a hub that answers as f does.
func standIn(t *testing.T, f http.HandlerFunc) *service.Client {
	t.Helper()
	s := httptest.NewTLSServer(f)
	t.Cleanup(s.Close)
	cs, err := sas.ParseConnectionString("HostName=example.com;SharedAccessKeyName=service;SharedAccessKey=a2V5a2V5a2V5a2V5")
	if err != nil {
		t.Fatal(err)
	}
	pool := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c, err := service.New(&service.Options{
		Connection: cs, HTTPS: s.Listener.Addr().String(), TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatIsSent(t *testing.T) {
	var got *http.Request
	var body map[string]any
	c := standIn(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(`{"status":299,"payload":{"a":[1]}}`)) // the client reports what is wrong with it
	})
	result, err := c.Call(t.Context(), "pi/17", &service.MethodCall{Name: "reboot", Payload: []byte(`{"in":3}`), ConnectTimeout: 7 * time.Second})
	if err != nil || result.Status != 299 || string(result.Payload) != `{"a":[1]}` {
		t.Errorf("%+v: %v", result, err)
	}
	token, err := sas.ParseToken(got.Header.Get("Authorization"))
	if err != nil || token.Resource != "example.com" || token.Policy != "service" {
		t.Errorf("token %v: %v", token, err)
	}
	if got.Method != "POST" || got.RequestURI != "/twins/pi%2F17/methods?api-version=2021-04-12" || got.Host != "example.com" {
		t.Errorf("%s %s of %s", got.Method, got.RequestURI, got.Host)
	}
	want := map[string]any{"methodName": "reboot", "payload": map[string]any{"in": 3.0}, "responseTimeoutInSeconds": 30.0, "connectTimeoutInSeconds": 7.0}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersOfOtherShapes(t *testing.T) {
	for name, test := range map[string]struct {
		status     int
		name, body string
		want       error
		text       string
	}{
		"words":         {404, "DeviceNotFound", `{"Message":"ErrorCode:DeviceNotFound;Gone.","ExceptionMessage":"Tracking ID:1"}`, service.ErrDeviceUnknown, "no such device: status 404 DeviceNotFound: Gone."},
		"an object":     {404, "DeviceNotOnline", `{"Message":"{\"errorCode\":404103,\"message\":\"Away.\"}","ExceptionMessage":""}`, service.ErrDeviceOffline, "not online: status 404 DeviceNotOnline (404103): Away."},
		"not by header": {404, "", `{"Message":"ErrorCode:DeviceNotFound;Gone."}`, service.ErrDeviceUnknown, "DeviceNotFound: Gone."},
		"a page":        {404, "", `<html>`, service.ErrNotFound, "not found: status 404"},
		"no time left":  {504, "GatewayTimeout", `{"Message":"{\"errorCode\":504101,\"message\":\"Late.\"}"}`, service.ErrMethodTimeout, "(504101): Late."},
		"too much":      {429, "ThrottlingException", ``, service.ErrThrottled, "throttled by the hub: status 429 ThrottlingException"},
		"quota":         {403, "IotHubQuotaExceeded", `{"Message":"ErrorCode:IotHubQuotaExceeded;Enough."}`, service.ErrQuota, "daily quota is used up: status 403 IotHubQuotaExceeded: Enough."},
		"forbidden":     {403, "Other", ``, nil, "status 403 Other"},
		"not here":      {302, "", ``, nil, "status 302"},
		"a fault":       {500, "ServerError", `{"Message":7}`, nil, "status 500 ServerError"},
		"no JSON":       {200, "", `<html>`, nil, "not the JSON that an IoT Hub sends"},
		"another JSON":  {200, "", `[]`, nil, "not the JSON that an IoT Hub sends"},
		"nothing":       {200, "", ``, nil, "not the JSON that an IoT Hub sends"},
	} {
		c := standIn(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("iothub-errorcode", test.name)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte(test.body)) // as above
		})
		_, err := c.Device(t.Context(), "pi-17")
		if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The hub writes the year 1 for never, in two ways.
func TestTimesOfDevices(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2026-11-22T10:00:00.1234567Z": time.Date(2026, 11, 22, 10, 0, 0, 123456700, time.UTC),
		"0001-01-01T00:00:00Z":         {}, "0001-01-01T00:00:00": {}, "": {},
	} {
		var d service.Device
		if err := json.Unmarshal([]byte(`{"deviceId":"x","statusReason":null,"lastActivityTime":"`+text+`"}`), &d); err != nil || !d.LastActivity.Equal(want) {
			t.Errorf("%q: %v, %v", text, d.LastActivity, err)
		}
	}
}
