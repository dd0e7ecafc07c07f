package hubsim

import (
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"iotagent/hubsim/amqpd"
)

// FuzzTelemetry holds that no payload brings the hub down, and that what it takes it can show and hand on.
func FuzzTelemetry(f *testing.F) {
	for _, seed := range []string{
		"",
		"005375a00141",
		"005373d00000000800000001a1026d31005374d10000000a00000002a1016ba10176005375a00141",
		"005375a0064142434445460053",
		"005372d10000000a00000002a001410141",
		"005372c10c0280a00142",
		"005377a10141",
	} {
		data, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, false)
		f.Add(data, true)
	}
	f.Fuzz(func(t *testing.T, payload []byte, batch bool) {
		d := &amqpd.Incoming{Payload: payload}
		if batch {
			d.Format = batchFormat
		}
		messages, refusal := decodeTelemetry(d)
		if refusal != nil {
			return
		}
		for _, m := range messages {
			e := newEvent(m, &device{id: "d", generation: "g"}, "{}", time.Unix(0, 0))
			e.stamp(0)
			if _, err := json.Marshal(e); err != nil {
				t.Errorf("an accepted event cannot be shown: %v", err)
			}
			if _, err := encodeMessage(e.message); err != nil {
				t.Errorf("an accepted event cannot be handed on: %v", err)
			}
		}
	})
}
