package service_test

import (
	"context"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
	"iotagent/iothub/service"
)

// Some gateways of the real hub send FLOW frames without next-incoming-id, which AMQP 1.0 (part 2, 2.7.4) demands once a session stands.
func TestGatewaysThatOmitNextIncomingID(t *testing.T) {
	run(t, &hubsim.Options{OmitNextIncomingID: true}, func(t *testing.T, b *bed) {
		device := b.device("pi-17")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.service().Send(ctx, "pi-17", &service.Command{ID: "x", Ack: service.AckFull}); err != nil {
			t.Fatal(err)
		}
		settle(t, device, receive(t, device), iothub.Accept)
		telemetry(t, device, 0, 3)
		f := b.follow(&service.EventsOptions{})
		bodies(t, f.collect(t, 3))
		f.end(t)
		got := ""
		if err := b.service().Feedback(hour(t), nil, func(batch []service.Feedback) (bool, error) {
			got = batch[0].OriginalMessageID
			return false, nil
		}); err != nil || got != "x" {
			t.Errorf("feedback of %q: %v", got, err)
		}
	})
}
