package hubsim_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestControlRefuses(t *testing.T) {
	b := newBed(t, nil)
	for _, c := range []struct {
		method, path, kind, body string
		status                   int
	}{
		{"GET", "/", "", "", 200},
		{"GET", "/x", "", "", 404},
		{"PUT", "/", "application/json", "{}", 400},
		{"POST", "/", "text/plain", `{"action":"reset"}`, 400}, // a page in a browser could send it
		{"POST", "/", "application/json", "", 400},
		{"POST", "/", "application/json", `{"action":"reset","bogus":1}`, 400},
		{"POST", "/", "application/json", `{"action":"bogus"}`, 400},
		{"POST", "/", "application/json", `{"action":"clock","delay":"x"}`, 400},
		{"POST", "/", "application/json", `{"action":"attach"}`, 400},
		{"POST", "/", "application/json", `{"action":"token","mode":"x"}`, 400},
		{"POST", "/", "application/json", `{"action":"ack","mode":"x"}`, 400},
		{"POST", "/", "application/json", `{"action":"blackhole","mode":"x"}`, 400},
		{"POST", "/", "application/json; charset=utf-8", `{"action":"reset"}`, 200},
		{"POST", "/", "application/json", `{"action":"token","mode":"clear"}`, 200},
		{"POST", "/", "application/json", `{"action":"ack","mode":"clear"}`, 200},
		{"POST", "/", "application/json", `{"action":"throttle"}`, 200},
	} {
		req := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body))
		req.Header.Set("Content-Type", c.kind)
		w := httptest.NewRecorder()
		b.Control().ServeHTTP(w, req)
		if w.Code != c.status {
			t.Errorf("%s %s %s: %d, want %d; %s", c.method, c.path, c.body, w.Code, c.status, w.Body)
		}
		if says := strings.Contains(w.Body.String(), `"error":`); says != (w.Code != http.StatusOK) {
			t.Errorf("%s %s %s: %d with %s", c.method, c.path, c.body, w.Code, w.Body)
		}
	}
}
