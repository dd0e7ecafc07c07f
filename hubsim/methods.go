package hubsim

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim/amqpd"
)

// Errors of CallMethod, for errors.Is.
var (
	ErrDeviceOffline = errors.New("device is not online for methods")
	ErrMethodTimeout = errors.New("device did not answer in time")
)

// maxMethod is the size of a method's payload, each way.
const maxMethod = 128 << 10

// MethodCall is one invocation of a direct method.
type MethodCall struct {
	Name string
	// Payload is JSON; nil is null.
	Payload json.RawMessage
	// ConnectTimeout is how long to wait for a device that is not connected; 0 does not wait.
	ConnectTimeout time.Duration
	// ResponseTimeout is how long to wait for the answer; default 30 s.
	ResponseTimeout time.Duration
}

// MethodResult is a device's answer.
type MethodResult struct {
	Status int `json:"status"`
	// Payload is JSON; null when the device sent nothing.
	Payload json.RawMessage `json:"payload"`
}

// pendingCall waits for its answer.
type pendingCall struct {
	identity string
	request  []byte
	result   *MethodResult // guarded by the Server's mutex
}

// CallMethod invokes a direct method of a device, or of a module as "DEVICE/MODULE", and returns its answer. The error is or wraps
// ErrUnknownDevice, ErrDeviceOffline or ErrMethodTimeout where that is the reason.
func (s *Server) CallMethod(ctx context.Context, id string, call MethodCall) (MethodResult, error) {
	result, err := s.callMethod(ctx, id, call)
	if err != nil {
		return MethodResult{}, fmt.Errorf("method %q of %q: %w", call.Name, id, err)
	}
	return result, nil
}

func (s *Server) callMethod(ctx context.Context, id string, call MethodCall) (MethodResult, error) {
	if call.Payload == nil {
		call.Payload = json.RawMessage("null")
	}
	setDefault(&call.ResponseTimeout, 30*time.Second)
	switch {
	case call.Name == "" || len(call.Name) > 100:
		return MethodResult{}, badArgument("methodName: want 1 to 100 characters.")
	case !json.Valid(call.Payload):
		return MethodResult{}, badArgument("payload: want JSON.")
	case len(call.Payload) > maxMethod:
		return MethodResult{}, tooLarge("The payload has %d bytes, %d are allowed.", len(call.Payload), maxMethod)
	}
	correlation := s.methodID()
	request, err := encodeMessage(&amqp.Message{
		Properties:            &amqp.MessageProperties{CorrelationID: correlation},
		ApplicationProperties: map[string]any{"IoThub-methodname": call.Name},
		Data:                  [][]byte{call.Payload},
	})
	if err != nil {
		return MethodResult{}, err
	}
	p := &pendingCall{identity: id, request: request}
	defer s.endCall(p, correlation)
	if err := s.startCall(ctx, p, correlation, call.ConnectTimeout); err != nil {
		return MethodResult{}, err
	}
	limited, cancel := context.WithTimeout(ctx, call.ResponseTimeout)
	defer cancel()
	err = s.WaitFor(limited, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return p.result != nil
	})
	switch {
	case err == nil:
		return *p.result, nil
	case ctx.Err() == nil && limited.Err() != nil:
		return MethodResult{}, &failure{
			status: 504, code: 504101, name: "GatewayTimeout", asJSON: true, cause: ErrMethodTimeout,
			message: "Timed out waiting for the response from device.",
		}
	}
	return MethodResult{}, err
}

// methodID makes a correlation-id, of the type that the device has to answer with.
func (s *Server) methodID() any {
	var id amqp.UUID
	_, _ = rand.Read(id[:])                  // never fails
	id[6], id[8] = id[6]&15|64, id[8]&63|128 // version 4
	if s.opts.MethodStringIDs {
		return id.String()
	}
	return id
}

// startCall hands the request over to the device's link as soon as there is one.
func (s *Server) startCall(ctx context.Context, p *pendingCall, correlation any, timeout time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var unknown *failure
	err := s.WaitFor(limited, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		d := s.devices[p.identity]
		if d == nil {
			unknown = s.unknownLocked(p.identity)
			return true
		}
		if d.methodLinkLocked() == nil {
			return false
		}
		s.calls[correlation] = p
		d.calls = append(d.calls, p)
		s.pumpCallsLocked(d)
		return true
	})
	switch {
	case err == nil && unknown != nil:
		return unknown
	case ctx.Err() == nil && limited.Err() != nil && err != nil:
		return &failure{
			status: 404, code: 404103, name: "DeviceNotOnline", asJSON: true, cause: ErrDeviceOffline,
			message: "Timed out waiting for device to connect.",
		}
	}
	return err
}

// endCall forgets a call, so that its request is never sent late.
func (s *Server) endCall(p *pendingCall, correlation any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, correlation)
	if d := s.devices[p.identity]; d != nil {
		d.calls = slices.DeleteFunc(d.calls, func(o *pendingCall) bool { return o == p })
	}
}

func (d *device) methodLinkLocked() *link {
	if d.conn == nil {
		return nil
	}
	return d.conn.receiverLocked(place{nodeMethods, d.key()}, "")
}

// pumpCallsLocked sends the requests that wait for a device, as far as its link's credit goes.
func (s *Server) pumpCallsLocked(d *device) {
	l := d.methodLinkLocked()
	for l != nil && len(d.calls) > 0 && l.wire.Credit() > 0 {
		if _, err := l.wire.Send(d.calls[0].request, &amqpd.SendOptions{Settled: true}); err != nil {
			s.opts.Logger.Info("method request not sent", "device", d.key(), "error", err)
		}
		d.calls = d.calls[1:] // one that the client cannot take is as good as lost
	}
}

// methodResponseLocked takes a device's answer to the call that waits for it. An answer that comes too late, or whose correlation-id is not
// of the value and type that was sent, goes nowhere.
func (s *Server) methodResponseLocked(l *link, in *amqpd.Incoming) {
	refuse := func(condition, reason string) {
		s.opts.Logger.Info("method response refused", "device", l.addr.identity(), "reason", reason)
		in.Settle(rejected(condition, reason))
	}
	m, err := decodeMessage(in.Payload)
	if err != nil {
		refuse(condDecode, err.Error())
		return
	}
	status, ok := m.ApplicationProperties["IoThub-status"].(int32)
	body := bodyOf(m)
	switch {
	case !ok:
		refuse(condArgument, "IoThub-status: want an int.")
		return
	case len(body) > maxMethod:
		refuse(condSize, fmt.Sprintf("the payload has %d bytes, %d are allowed", len(body), maxMethod))
		return
	case len(body) > 0 && !json.Valid(body):
		refuse(condDecode, "the payload is not JSON")
		return
	}
	in.Settle(amqpd.State{Kind: amqpd.Accepted})
	p := s.callOfLocked(m)
	if p == nil || p.identity != l.addr.identity() {
		s.opts.Logger.Info("method response is late or has another correlation-id", "device", l.addr.identity())
		return
	}
	if len(body) == 0 {
		body = []byte("null")
	}
	p.result = &MethodResult{int(status), body}
}

func (s *Server) callOfLocked(m *amqp.Message) *pendingCall {
	if m.Properties == nil {
		return nil
	}
	switch id := m.Properties.CorrelationID.(type) {
	case amqp.UUID:
		return s.calls[id]
	case string:
		return s.calls[id]
	}
	return nil // of no type that was sent
}
