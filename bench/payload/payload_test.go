package payload_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"iotagent/bench/payload"
)

// envelope is the length of what the agent puts before the JSON.
const envelope = 32

func TestBodies(t *testing.T) {
	for kind, want := range map[payload.Kind][2]int{payload.Readings: {177, 200}, payload.Random: {190, 204}} {
		start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
		m, again := payload.New(kind, start), payload.New(kind, start)
		sum := 0
		for range 1200 {
			body, at := m.Next()
			same, _ := again.Next()
			if !bytes.Equal(body, same) {
				t.Fatalf("%s: not the same twice: %q, %q", kind, body, same)
			}
			if !json.Valid(body[envelope:]) {
				t.Fatalf("%s: no JSON after the envelope: %q", kind, body)
			}
			if kind == payload.Readings && !bytes.Contains(body, []byte(at.Format("15:04:05.000"))) {
				t.Fatalf("%s: does not name its time %v: %s", kind, at, body)
			}
			sum += len(body)
		}
		if mean := sum / 1200; mean < want[0] || mean > want[1] {
			t.Errorf("%s: %d bytes on average, want %v", kind, mean, want)
		}
	}
}
