package iothub_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"iotagent/iothub"
)

// clockServer says what time it is, with a certificate for localhost that is valid between two times, and returns where it listens.
func clockServer(t *testing.T, from, to time.Time, date string) (string, *tls.Config) {
	t.Helper()
	cert, roots := selfSigned(t, "localhost", from, to)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead || r.Header.Get("Authorization") != "" {
			t.Errorf("%s with %v", r.Method, r.Header)
		}
		w.Header()["Date"] = []string{date}
		w.WriteHeader(http.StatusNotFound)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return strings.Replace(s.Listener.Addr().String(), "127.0.0.1", "localhost", 1), &tls.Config{RootCAs: roots}
}

// The certificate counts at the time that the server says: this machine's clock is what is in doubt, here by years.
func TestHubDate(t *testing.T) {
	date := time.Date(2041, 5, 6, 7, 8, 9, 0, time.UTC)
	tests := []struct {
		name, date string
		from, to   time.Time
		roots      bool
		want       string // "" for none
	}{
		{"far ahead", date.Format(http.TimeFormat), date.AddDate(0, -1, 0), date.AddDate(0, 1, 0), true, ""},
		{"certificate of then has ended", date.Format(http.TimeFormat), date.AddDate(-2, 0, 0), date.AddDate(-1, 0, 0), true, "certificate has expired"},
		{"unknown root", date.Format(http.TimeFormat), date.AddDate(0, -1, 0), date.AddDate(0, 1, 0), false, "unknown authority"},
		{"no date", "", date, date.AddDate(0, 1, 0), true, "no date"},
		{"nonsense", "tomorrow", date, date.AddDate(0, 1, 0), true, "no date"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host, config := clockServer(t, tt.from, tt.to, tt.date)
			if !tt.roots {
				config.RootCAs = x509.NewCertPool()
			}
			got, err := iothub.HubDate(host, config, nil)(t.Context())
			switch {
			case tt.want == "" && (err != nil || !got.Equal(date)):
				t.Errorf("%v, %v", got, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, %v; want an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestHubDateOfAnotherName(t *testing.T) {
	now := time.Now()
	host, config := clockServer(t, now.Add(-time.Hour), now.Add(time.Hour), now.UTC().Format(http.TimeFormat))
	_, err := iothub.HubDate(strings.Replace(host, "localhost", "127.0.0.1", 1), config, nil)(t.Context())
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("error %v", err)
	}
}

func TestHubDateWithoutTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, host := range []string{"localhost", "localhost:x"} {
		if at, err := iothub.HubDate(host, nil, nil)(ctx); err == nil {
			t.Errorf("%s: %v", host, at)
		}
	}
}

// Where there is a proxy it is asked for the host and port of the hub.
func TestHubDateThroughAProxy(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Method+" "+r.Host)
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	find := func(host string, port int) (*url.URL, error) {
		if host != "hub.example" || port != 443 {
			t.Errorf("proxy for %s:%d", host, port)
		}
		return url.Parse(proxy.URL)
	}
	if at, err := iothub.HubDate("hub.example", nil, find)(t.Context()); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("%v, %v", at, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 1 || asked[0] != "CONNECT hub.example:443" {
		t.Errorf("the proxy was asked %q", asked)
	}
}

// The Date says the second; the answer came in the middle of it, as far as anybody knows.
func TestHubClock(t *testing.T) {
	date := time.Date(2041, 5, 6, 7, 8, 9, 0, time.UTC)
	host, config := clockServer(t, date.AddDate(0, -1, 0), date.AddDate(0, 1, 0), date.Format(http.TimeFormat))
	at, within, err := iothub.HubClock(host, config, nil)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if within < 500*time.Millisecond || within > time.Second {
		t.Errorf("within %v", within)
	}
	if off := at.Sub(date); off < within {
		t.Errorf("%v after the second began, give or take %v", off, within)
	}
	host, config = clockServer(t, date, date, "soon")
	if at, _, err := iothub.HubClock(host, config, nil)(t.Context()); err == nil {
		t.Errorf("%v out of nonsense", at)
	}
}

func TestHubClockDoesNotBelieveASlowAnswer(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{0: 500 * time.Millisecond, 800 * time.Millisecond: 900 * time.Millisecond, time.Second: time.Second, 1200 * time.Millisecond: 0} {
		if within, err := iothub.DateWithin(took); within != want || (err == nil) != (want > 0) {
			t.Errorf("an answer after %v: within %v, %v; want %v", took, within, err, want)
		}
	}
}
