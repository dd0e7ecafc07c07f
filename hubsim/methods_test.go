package hubsim_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

const methodsAddress = "/devices/pi-17/methods/devicebound"

// methodLinks is a device's pair of links for methods.
type methodLinks struct {
	*client
	out *amqp.Sender
	in  *amqp.Receiver
}

func (c *client) methods() *methodLinks {
	return &methodLinks{c, c.sender(methodsAddress), c.receiver(methodsAddress, &amqp.ReceiverOptions{Credit: 10})}
}

func methodAnswer(id, status any, body string) *amqp.Message {
	return &amqp.Message{
		Properties:            &amqp.MessageProperties{CorrelationID: id},
		ApplicationProperties: map[string]any{"IoThub-status": status},
		Data:                  [][]byte{[]byte(body)},
	}
}

// called is how a method ended.
type called struct {
	result hubsim.MethodResult
	err    error
}

func (b *bed) call(call hubsim.MethodCall) <-chan called {
	done := make(chan called, 1)
	go func() {
		result, err := b.CallMethod(b.t.Context(), "pi-17", call)
		done <- called{result, err}
	}()
	return done
}

func TestMethodCall(t *testing.T) {
	for name, o := range map[string]*hubsim.Options{"uuid": nil, "string": {MethodStringIDs: true}} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, o)
			l := b.connectDevice().methods()
			done := b.call(hubsim.MethodCall{Name: "reboot", Payload: json.RawMessage(`{"in":5}`)})
			m := l.receive(l.in)
			id := m.Properties.CorrelationID
			if _, isUUID := id.(amqp.UUID); isUUID != (name == "uuid") {
				t.Errorf("correlation-id is a %T", id)
			}
			if m.ApplicationProperties["IoThub-methodname"] != "reboot" || string(m.GetData()) != `{"in":5}` {
				t.Errorf("request %v %s", m.ApplicationProperties, m.GetData())
			}
			accepted(t, l.send(l.out, methodAnswer(id, int32(201), `{"ok":true}`)))
			got := <-done
			if got.err != nil || got.result.Status != 201 || string(got.result.Payload) != `{"ok":true}` {
				t.Errorf("got %+v", got)
			}
			// Without payloads, both ways.
			done = b.call(hubsim.MethodCall{Name: "ping"})
			m = l.receive(l.in)
			if string(m.GetData()) != "null" {
				t.Errorf("payload %q", m.GetData())
			}
			accepted(t, l.send(l.out, methodAnswer(m.Properties.CorrelationID, int32(200), "")))
			if got := <-done; got.err != nil || string(got.result.Payload) != "null" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestAnswersThatAreNoAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		l := b.connectDevice().methods()
		done := b.call(hubsim.MethodCall{Name: "m", ResponseTimeout: 10 * time.Second})
		m := l.receive(l.in)
		id := m.Properties.CorrelationID.(amqp.UUID)
		rejectedWith(t, l.send(l.out, methodAnswer(id, int64(200), `1`)), "com.microsoft:argument-error")
		rejectedWith(t, l.send(l.out, methodAnswer(id, nil, `1`)), "com.microsoft:argument-error")
		rejectedWith(t, l.send(l.out, methodAnswer(id, int32(200), `{`)), amqp.ErrCondDecodeError)
		rejectedWith(t, l.send(l.out, methodAnswer(id, int32(200), `"`+strings.Repeat("x", 128<<10)+`"`)), amqp.ErrCondMessageSizeExceeded)
		accepted(t, l.send(l.out, methodAnswer(id.String(), int32(200), `1`))) // of another type than was sent
		accepted(t, l.send(l.out, methodAnswer(amqp.UUID{1}, int32(200), `1`)))
		accepted(t, l.send(l.out, methodAnswer([]byte{1}, int32(200), `1`)))
		start := time.Now()
		got := <-done
		if !errors.Is(got.err, hubsim.ErrMethodTimeout) || time.Since(start) > 10*time.Second {
			t.Errorf("got %v after %v", got.err, time.Since(start))
		}
		accepted(t, l.send(l.out, methodAnswer(id, int32(200), `1`))) // too late
	})
}

func TestMethodNeedsAConnectedDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		start := time.Now()
		if _, err := b.CallMethod(t.Context(), "pi-17", hubsim.MethodCall{Name: "m"}); !errors.Is(err, hubsim.ErrDeviceOffline) || time.Since(start) > 0 {
			t.Errorf("not connected: %v after %v", err, time.Since(start))
		}
		c := b.connectDevice()
		c.sender(eventsAddress)
		if got := <-b.call(hubsim.MethodCall{Name: "m", ConnectTimeout: 5 * time.Second}); !errors.Is(got.err, hubsim.ErrDeviceOffline) {
			t.Errorf("connected, but not for methods: %v", got.err)
		}
		if time.Since(start) != 5*time.Second {
			t.Errorf("waited %v for the device", time.Since(start))
		}
		done := b.call(hubsim.MethodCall{Name: "m", ConnectTimeout: time.Minute})
		time.Sleep(30 * time.Second)
		l := c.methods() // it comes in time
		m := l.receive(l.in)
		accepted(t, l.send(l.out, methodAnswer(m.Properties.CorrelationID, int32(200), `1`)))
		if got := <-done; got.err != nil {
			t.Error(got.err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.CallMethod(ctx, "pi-17", hubsim.MethodCall{Name: "m"}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestOnlyTheDeviceThatWasCalledAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		token := b.moduleToken()
		l := b.connectDevice().methods()
		done := b.call(hubsim.MethodCall{Name: "m"})
		id := l.receive(l.in).Properties.CorrelationID
		module := b.connect(nil)
		module.authorize(token)
		accepted(t, module.send(module.sender("/devices/pi-17/modules/edge1/methods/devicebound"), methodAnswer(id, int32(500), `"mine"`)))
		accepted(t, l.send(l.out, methodAnswer(id, int32(200), `1`)))
		if got := <-done; got.result.Status != 200 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestACallThatWasGivenUpIsNotSentLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		r := c.receiver(methodsAddress, &amqp.ReceiverOptions{Credit: -1})
		if got := <-b.call(hubsim.MethodCall{Name: "old", ResponseTimeout: time.Second}); !errors.Is(got.err, hubsim.ErrMethodTimeout) {
			t.Fatalf("without credit: %v", got.err)
		}
		done := b.call(hubsim.MethodCall{Name: "new", ResponseTimeout: time.Second})
		synctest.Wait()
		if err := r.IssueCredit(5); err != nil {
			t.Fatal(err)
		}
		if m := c.receive(r); m.ApplicationProperties["IoThub-methodname"] != "new" {
			t.Errorf("got %v", m.ApplicationProperties)
		}
		<-done
	})
}

func TestMethodRefusals(t *testing.T) {
	b := newBed(t, nil)
	if _, err := b.CallMethod(t.Context(), "ghost", hubsim.MethodCall{Name: "m"}); !errors.Is(err, hubsim.ErrUnknownDevice) {
		t.Errorf("unknown device: %v", err)
	}
	for name, call := range map[string]hubsim.MethodCall{
		"no name":  {},
		"not JSON": {Name: "m", Payload: json.RawMessage("{")},
		"size":     {Name: "m", Payload: json.RawMessage(`"` + strings.Repeat("x", 128<<10) + `"`)},
	} {
		if _, err := b.CallMethod(t.Context(), "pi-17", call); err == nil || errors.Is(err, hubsim.ErrDeviceOffline) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
