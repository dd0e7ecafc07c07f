package e2e

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
)

// Another client with the same identity is said plainly, with what to do, and met with patience.
func TestDisplacedIsSaidPlainly(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{blocks: simulated("boiler")})
	d := b.run()
	h.online()
	cs := h.Devices()[device]
	other, err := iothub.Dial(t.Context(), &iothub.Options{
		Host: cs.HostName, Gateway: cs.GatewayHostName, DeviceID: device, Key: cs.Key, TLS: &tls.Config{RootCAs: h.CertPool(), MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel()
		_ = other.Close(ctx) // nothing is under way
	}()
	b.becomes("that it waits", func(s status) bool { return s.Link.State == "waiting" && s.Link.Class == "displaced" })
	b.do(0, "", "status").mentions("another client", "identity")
	if other.Err() != nil {
		t.Errorf("the other client was pushed out in turn: %v", other.Err())
	}
	d.stop()
}

// What the agent counts of the day's quota is what the hub counts.
func TestMeteringAgreesWithTheHub(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	b := gateway(t, h, settings{})
	before := time.Now().UTC().YearDay()
	for _, size := range []string{"10", "3500", "4096", "9000"} {
		b.do(0, "", "send", "--count", "40", "--size", size)
	}
	d := b.run()
	h.until("all of them", func() bool { return h.Accepted() >= 160 })
	s := b.becomes("nothing queued", func(s status) bool { return s.queued() == 0 && s.Link.Sent >= 160 })
	if time.Now().UTC().YearDay() != before {
		t.Skip("midnight passed, which begins both counts anew, in the middle of this")
	}
	if got, want := s.Metering.Metered, uint64(h.Metered(device)); got != want || got < 160 || s.Metering.Messages != uint64(h.Accepted()) {
		t.Errorf("the agent counts %d units of %d messages, the hub %d of %d", got, s.Metering.Messages, want, h.Accepted())
	}
	d.stop()
}
