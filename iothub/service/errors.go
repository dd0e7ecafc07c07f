package service

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/go-amqp"
)

// Errors that callers tell apart; they are wrapped with the hub's own words.
var (
	// ErrDeviceUnknown means that the hub has no such device.
	ErrDeviceUnknown = errors.New("no such device")
	// ErrQueueFull means that fifty commands wait for the device already.
	ErrQueueFull = errors.New("the device's command queue is full")
	// ErrThrottled means that the hub wants fewer requests.
	ErrThrottled = errors.New("throttled by the hub")
	// ErrQuota means that the hub's messages of the day are used up.
	ErrQuota = errors.New("the hub's daily quota is used up")
	// ErrUnauthorized means that the policy's key is wrong or has not the right.
	ErrUnauthorized = errors.New("not authorized")
	// ErrNotFound means that the hub has no such consumer group, or does not offer what was asked for.
	ErrNotFound = errors.New("not found")
	// ErrDeviceExists means that a device of that name is registered already.
	ErrDeviceExists = errors.New("the device exists already")
	// ErrDeviceOffline means that the device is not there to answer a call.
	ErrDeviceOffline = errors.New("the device is not online")
	// ErrMethodTimeout means that the device did not answer a call in time; it may have done what it was told.
	ErrMethodTimeout = errors.New("the device did not answer in time")
	// ErrChanged means that somebody else has changed the device or the twin meanwhile.
	ErrChanged = errors.New("changed meanwhile")
	// ErrPartitionUnknown means that the telemetry has no such partition.
	ErrPartitionUnknown = errors.New("no such partition")
)

// final errors do not go away by themselves.
func final(err error) bool {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return untrusted || errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrPartitionUnknown)
}

// refusal is an error of the hub in words for people.
type refusal struct{ remote *amqp.Error }

// details are what the description says, which from IoT Hub is a JSON object; zero from others.
func (r refusal) details() (code int, message string) {
	var d struct {
		ErrorCode int    `json:"errorCode"`
		Message   string `json:"message"`
	}
	if json.Unmarshal([]byte(r.remote.Description), &d) != nil {
		return 0, ""
	}
	return d.ErrorCode, d.Message
}

// Error returns the condition with what the description says.
func (r refusal) Error() string {
	switch code, message := r.details(); {
	case message != "" && code != 0:
		return fmt.Sprintf("%s (%d): %s", r.remote.Condition, code, message)
	case r.remote.Description != "":
		return fmt.Sprintf("%s: %s", r.remote.Condition, r.remote.Description)
	}
	return string(r.remote.Condition)
}

// Unwrap returns the library's form.
func (r refusal) Unwrap() error { return r.remote }

// explain wraps an AMQP error with the sentinel of its condition (Microsoft, "Understand and resolve Azure IoT Hub errors").
func explain(err error) error {
	if strings.Contains(err.Error(), "auth failed with code") { // go-amqp has no type for a SASL outcome
		return fmt.Errorf("%w: the hub refused the policy's key: %w", ErrUnauthorized, err)
	}
	remote, ok := errors.AsType[*amqp.Error](err)
	if !ok {
		return err
	}
	if sentinel := sentinelOf(refusal{remote}); sentinel != nil {
		return fmt.Errorf("%w: %w", sentinel, refusal{remote})
	}
	return refusal{remote}
}

// sentinelOf says what a refusal means, by its code where it has one that says more than its condition; nil for nothing in particular.
func sentinelOf(r refusal) error {
	switch code, _ := r.details(); {
	case code == quotaExceeded:
		return ErrQuota
	case code/1000 == 429, code == 503005, code == 503008:
		return ErrThrottled
	}
	switch r.remote.Condition {
	case amqp.ErrCondNotFound:
		return ErrNotFound
	case "com.microsoft:quota-exceeded":
		return ErrQuota
	case "com.microsoft:device-container-throttled", "com.microsoft:server-busy":
		return ErrThrottled
	case amqp.ErrCondUnauthorizedAccess:
		return ErrUnauthorized
	}
	return nil
}

// quotaExceeded is IoT Hub's code for it.
const quotaExceeded = 403002
