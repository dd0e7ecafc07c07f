package hubsim_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

const deviceFeedback = "/messages/serviceBound/feedback"

func TestDeviceFeedbackIsRefusedByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connect(amqp.SASLTypePlain("pi-17@sas.localhost", b.deviceToken(time.Hour)))
		_, err := c.NewSender(t.Context(), deviceFeedback, nil)
		refusal, ok := errors.AsType[*amqp.Error](err)
		if !ok || refusal.Condition != amqp.ErrCondNotAllowed {
			t.Errorf("error %v", err)
		}
	})
}

func TestDeviceFeedbackIsMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, &hubsim.Options{DeviceFeedback: true, FeedbackDelay: time.Second})
		c := b.connect(amqp.SASLTypePlain("pi-17@sas.localhost", b.deviceToken(time.Hour)))
		s, err := c.NewSender(t.Context(), deviceFeedback, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{
			`{"originalMessageId":"m-1","statusCode":"Success","description":"done","deviceId":"another"}`,
			`[{"originalMessageId":"m-2","statusCode":"Rejected"},{"originalMessageId":"m-3","statusCode":"Success"}]`,
		} {
			if err := s.Send(t.Context(), amqp.NewMessage([]byte(body)), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Send(t.Context(), amqp.NewMessage([]byte("soon")), nil); err == nil {
			t.Error("took a text for a record")
		}
		records, err := b.WaitFeedback(t.Context(), 3)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"m-1", "m-2", "m-3"} {
			r := records[i]
			if r.OriginalMessageID != want || r.DeviceID != "pi-17" || r.DeviceGenerationID == "" || r.EnqueuedTimeUTC.IsZero() {
				t.Errorf("record %d: %+v", i, r)
			}
		}
	})
}
