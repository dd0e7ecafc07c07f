package agent_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/agent"
	"iotagent/internal/promtext"
	"iotagent/outbox"
)

func TestMetricsFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.o.Version = "1.0.0"
		b.o.Sources = []agent.Source{{Sampler: &fakeSensor{name: "boiler", clock: b.o.Clock}, Lane: outbox.Normal}}
		a, stop := b.run()
		b.until(time.Minute, "a message", func() bool { return b.hub.Accepted() == 1 })
		synctest.Wait()
		text := string(a.Metrics())
		if err := stop(); err != nil {
			t.Error(err)
		}
		series := parseMetrics(t, text)
		for name, want := range map[string]float64{
			`iotagent_link_online`: 1, `iotagent_outbox_acked_total{lane="normal"}`: 1, `iotagent_readings_total`: 6,
			`iotagent_sensor_errors_total{sensor="boiler"}`: 0, `iotagent_outbox_oldest_age_seconds{lane="bulk"}`: 0,
		} {
			if got, ok := series[name]; !ok || got != want {
				t.Errorf("%s is %v, %v; want %v", name, got, ok, want)
			}
		}
		checkFormat(t, "metrics.txt", wireBytes([]byte(strings.ReplaceAll(text, runtime.Version(), "go1.26.8"))))
	})
}

// parseMetrics reads the text format strictly: every metric has its HELP and TYPE, once, before its values; names and labels are
// of the allowed characters; counters, and only they, end in _total; no series comes twice.
func parseMetrics(t *testing.T, text string) map[string]float64 {
	t.Helper()
	if !strings.HasSuffix(text, "\n") {
		t.Fatal("the last line has no end")
	}
	help := regexp.MustCompile(`^# HELP (iotagent_[a-z_]+) [A-Z0-9].*\.$`)
	kind := regexp.MustCompile(`^# TYPE (iotagent_[a-z_]+) (counter|gauge)$`)
	value := regexp.MustCompile(`^(iotagent_[a-z_]+)(\{[a-z]+="(?:[^"\\]|\\[\\"n])*"(?:,[a-z]+="(?:[^"\\]|\\[\\"n])*")*\})? ([^ ]+)$`)
	series, seen := map[string]float64{}, map[string]bool{}
	family, helped := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := help.FindStringSubmatch(line); m != nil {
			if seen[m[1]] {
				t.Errorf("%s comes twice", m[1])
			}
			seen[m[1]], helped = true, m[1]
			continue
		}
		if m := kind.FindStringSubmatch(line); m != nil {
			if m[1] != helped || (m[2] == "counter") != strings.HasSuffix(m[1], "_total") {
				t.Errorf("out of place: %s", line)
			}
			family = m[1]
			continue
		}
		m := value.FindStringSubmatch(line)
		if m == nil || m[1] != family {
			t.Errorf("not a value of %s: %s", family, line)
			continue
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if _, twice := series[m[1]+m[2]]; err != nil || twice {
			t.Errorf("%s: %v, twice: %v", line, err, twice)
		}
		series[m[1]+m[2]] = v
	}
	return series
}

// serveMetrics serves the metrics of an agent that does nothing.
func serveMetrics(t *testing.T) (address string, stop func()) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		agent.New(&agent.Options{Queue: outboxMemory()}).ServeMetrics(ctx, l)
	}()
	return l.Addr().String(), func() {
		cancel()
		<-done
	}
}

func TestServeMetrics(t *testing.T) {
	address, stop := serveMetrics(t)
	client := &http.Client{Transport: &http.Transport{}}
	ask := func(method, path string) (int, string, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("Content-Type"), string(body)
	}
	status, kind, body := ask(http.MethodGet, "/metrics")
	if status != http.StatusOK || kind != promtext.ContentType {
		t.Errorf("status %d, content type %s", status, kind)
	}
	if parseMetrics(t, body)["iotagent_link_online"] != 0 {
		t.Error("an agent without a link is online")
	}
	if status, _, _ := ask(http.MethodGet, "/"); status != http.StatusNotFound {
		t.Errorf("another path: status %d", status)
	}
	if status, _, _ := ask(http.MethodPost, "/metrics"); status != http.StatusMethodNotAllowed {
		t.Errorf("another method: status %d", status)
	}
	client.CloseIdleConnections()
	stop()
	var d net.Dialer
	if c, err := d.DialContext(t.Context(), "tcp", address); err == nil {
		_ = c.Close()
		t.Error("still there after its end")
	}
}

// Whoever opens connections and says nothing gets no more than a few.
func TestServeMetricsBoundsConnections(t *testing.T) {
	address, stop := serveMetrics(t)
	defer stop()
	var d net.Dialer
	for i := range 17 {
		c, err := d.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if i == 16 {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("the seventeenth connection was answered")
			}
		}
	}
}
