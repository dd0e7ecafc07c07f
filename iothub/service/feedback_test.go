package service_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"iotagent/hubsim"
	"iotagent/iothub"
	"iotagent/iothub/service"
)

// answered sends three commands and lets the device accept, reject and accept them.
func answered(t *testing.T, b *bed) {
	t.Helper()
	device, c := b.device("pi-17"), b.service()
	for _, cmd := range []service.Command{{ID: "a", Ack: service.AckFull}, {ID: "b", Ack: service.AckNegative}, {ID: "c", Ack: service.AckNone}} {
		if err := c.Send(t.Context(), "pi-17", &cmd); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []iothub.Settlement{iothub.Accept, iothub.Reject, iothub.Accept} {
		settle(t, device, receive(t, device), s)
	}
	hangUp(t, device)
}

// outcomes is what the hub says of the three.
func outcomes() []service.Feedback {
	return []service.Feedback{
		{OriginalMessageID: "a", StatusCode: "Success", Description: "Success", DeviceID: "pi-17"},
		{OriginalMessageID: "b", StatusCode: "Rejected", Description: "Rejected", DeviceID: "pi-17"},
	}
}

func sameOutcomes(t *testing.T, got []service.Feedback) {
	t.Helper()
	ignore := cmpopts.IgnoreFields(service.Feedback{}, "EnqueuedTimeUTC", "DeviceGenerationID")
	if diff := cmp.Diff(outcomes(), got, ignore); diff != "" {
		t.Error(diff)
	}
	for _, f := range got {
		if age := wall().Sub(f.EnqueuedTimeUTC); age < 0 || age > time.Hour || f.DeviceGenerationID == "" {
			t.Errorf("got %+v", f)
		}
	}
}

func TestFeedbackIsSettledOnceTaken(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		answered(t, b)
		ready := 0
		var got []service.Feedback
		err := b.service().Feedback(hour(t), &service.FeedbackOptions{Ready: func() { ready++ }}, func(batch []service.Feedback) (bool, error) {
			got = append(got, batch...)
			return len(got) < 2, nil
		})
		if err != nil || ready != 1 {
			t.Fatalf("ready %d times, %v", ready, err)
		}
		sameOutcomes(t, got)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		err = b.service().Feedback(ctx, nil, func(batch []service.Feedback) (bool, error) {
			t.Errorf("again: %v", batch)
			return true, nil
		})
		if err != nil {
			t.Errorf("ended by its caller: %v", err)
		}
	})
}

// A process that could not make use of the records leaves them to the next.
func TestFeedbackComesAgainWhenItsReaderFails(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		answered(t, b)
		died := errors.New("the process dies")
		for range 2 {
			err := b.service().Feedback(hour(t), nil, func([]service.Feedback) (bool, error) { return true, died })
			if !errors.Is(err, died) {
				t.Fatalf("got %v", err)
			}
		}
		var got []service.Feedback
		err := b.service().Feedback(hour(t), nil, func(batch []service.Feedback) (bool, error) {
			got = batch
			return false, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		sameOutcomes(t, got)
	})
}

func TestFeedbackReconnects(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		answered(t, b)
		var batches [][]service.Feedback
		lost := 0
		o := &service.FeedbackOptions{Lost: func(error, time.Duration) { lost++ }}
		err := b.service().Feedback(hour(t), o, func(batch []service.Feedback) (bool, error) {
			if batches = append(batches, batch); len(batches) == 1 {
				b.DropConnections() // before it could be settled
			}
			return len(batches) < 2, nil
		})
		if err != nil || lost != 1 || len(batches) != 2 {
			t.Fatalf("lost %d times, %d batches, %v", lost, len(batches), err)
		}
		sameOutcomes(t, batches[0])
		sameOutcomes(t, batches[1])
	})
}

func TestFeedbackOfAnExpiredCommand(t *testing.T) {
	run(t, &hubsim.Options{FeedbackDelay: time.Second}, func(t *testing.T, b *bed) {
		if _, err := b.AddDevice("pi-17"); err != nil {
			t.Fatal(err)
		}
		cmd := &service.Command{ID: "late", Ack: service.AckFull, Expires: wall().Add(time.Minute)}
		if err := b.service().Send(t.Context(), "pi-17", cmd); err != nil {
			t.Fatal(err)
		}
		err := b.service().Feedback(hour(t), nil, func(batch []service.Feedback) (bool, error) {
			if len(batch) != 1 || batch[0].StatusCode != "Expired" || batch[0].OriginalMessageID != "late" {
				t.Errorf("got %+v", batch)
			}
			return false, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestFeedbackRefused(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		err := b.client(b.policy("device")).Feedback(hour(t), nil, func([]service.Feedback) (bool, error) { return true, nil })
		if !errors.Is(err, service.ErrUnauthorized) {
			t.Errorf("without the right: %v", err)
		}
	})
}
