package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// MethodCall is one invocation of a direct method (Microsoft, "Understand and invoke direct methods from IoT Hub").
type MethodCall struct {
	Name string
	// Payload is JSON; nil sends null.
	Payload json.RawMessage
	// ConnectTimeout is how long to wait for a device that is away; zero does not wait. At most 300 s, in whole seconds.
	ConnectTimeout time.Duration
	// ResponseTimeout is how long the device may take; zero means 30 s. From 5 to 300 s, in whole seconds.
	ResponseTimeout time.Duration
}

// MethodResult is a device's answer.
type MethodResult struct {
	// Status is the device's own; 200 usually means that it did it.
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

// Call invokes a direct method and waits for the answer. The error wraps ErrDeviceUnknown, ErrDeviceOffline or ErrMethodTimeout where one applies;
// after the last, the device may have done it.
func (c *Client) Call(ctx context.Context, device string, call *MethodCall) (*MethodResult, error) {
	response := call.ResponseTimeout
	if response == 0 {
		response = 30 * time.Second
	}
	if err := call.check(response); err != nil {
		return nil, fmt.Errorf("call %s of %s: %w", call.Name, device, err)
	}
	body := map[string]any{
		"methodName": call.Name, "payload": call.Payload, "responseTimeoutInSeconds": int(response / time.Second),
		"connectTimeoutInSeconds": int(call.ConnectTimeout / time.Second),
	}
	if call.Payload == nil {
		delete(body, "payload")
	}
	r := &request{method: http.MethodPost, path: twinPath(device) + "/methods", body: body, timeout: restTimeout + response + call.ConnectTimeout}
	result := new(MethodResult)
	if err := c.rest(ctx, r, result); err != nil {
		return nil, fmt.Errorf("call %s of %s: %w", call.Name, device, err)
	}
	return result, nil
}

func (call *MethodCall) check(response time.Duration) error {
	const limit = 300 * time.Second
	switch {
	case strings.TrimSpace(call.Name) == "":
		return errors.New("the method has no name")
	case call.Payload != nil && !json.Valid(call.Payload):
		return errors.New("the payload is not JSON")
	case response < 5*time.Second || response > limit || response%time.Second != 0:
		return fmt.Errorf("response timeout %s: want 5s to 300s, in whole seconds", response)
	case call.ConnectTimeout < 0 || call.ConnectTimeout > limit || call.ConnectTimeout%time.Second != 0:
		return fmt.Errorf("connect timeout %s: want 0s to 300s, in whole seconds", call.ConnectTimeout)
	}
	return nil
}
