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

func TestDeviceFormat(t *testing.T) {
	// As Azure answers it; the keys must not come out again.
	const answer = `{"deviceId":"pi-17","generationId":"637000000000000001","etag":"NzI3NDY1ODg=","connectionState":"Disconnected","status":"disabled",
		"statusReason":"moved","connectionStateUpdatedTime":"0001-01-01T00:00:00","statusUpdatedTime":"2026-11-22T10:00:00Z",
		"lastActivityTime":"2026-11-22T09:59:01.25Z","cloudToDeviceMessageCount":3,
		"authentication":{"symmetricKey":{"primaryKey":"a2V5a2V5a2V5a2V5","secondaryKey":"a2V5a2V5a2V5a2V6"},"x509Thumbprint":{"primaryThumbprint":null},"type":"sas"},
		"capabilities":{"iotEdge":false}}`
	var d service.Device
	if err := json.Unmarshal([]byte(answer), &d); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(&d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "../../docs/formats/device.json", append(text, '\n'), *update)
}
