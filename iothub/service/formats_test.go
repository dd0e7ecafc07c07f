package service_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"iotagent/internal/golden"
	"iotagent/iothub/service"
)

var update = golden.Update() //nolint:gochecknoglobals // a flag

// TestEventsPrintAsHubsimDoes holds hubsim to the same shape.
func TestEventFormat(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 5, 123e6, time.UTC)
	e := &service.Event{
		Device: "pi-17", Partition: "1", Sequence: 42, Offset: "14336", Enqueued: at,
		MessageID: "0000000000005eed-normal-42", ContentType: "application/json",
		Properties: map[string]string{"epoch": "0000000000005eed", "lane": "normal", "seq": "42", "iothub-creation-time-utc": "2026-11-22T10:00:05.000Z"},
		Annotations: map[string]any{
			"iothub-connection-device-id": "pi-17", "iothub-enqueuedtime": at, "iothub-message-source": "Telemetry",
			"x-opt-enqueued-time": at, "x-opt-offset": "14336", "x-opt-sequence-number": int64(42),
		},
		Body: []byte(`[{"sensor":"boiler","time":"2026-11-22T10:00:00.250Z","temperature_celsius":21.5}]`),
	}
	compact, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	golden.Check(t, "../../docs/formats/event.json", b.Bytes(), *update)
}
