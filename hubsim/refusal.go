package hubsim

import (
	"encoding/json"
	"fmt"
	"time"

	"iotagent/hubsim/amqpd"
)

// The error conditions that the hub answers with.
const (
	condNotFound      = "amqp:not-found"
	condUnauthorized  = "amqp:unauthorized-access"
	condNotAllowed    = "amqp:not-allowed"
	condNotImpl       = "amqp:not-implemented"
	condInvalidField  = "amqp:invalid-field"
	condDecode        = "amqp:decode-error"
	condResourceLimit = "amqp:resource-limit-exceeded"
	condSize          = "amqp:link:message-size-exceeded"
	condRedirect      = "amqp:link:redirect"
	condStolen        = "amqp:link:stolen"
	condForced        = "amqp:connection:forced"
	condNewConnection = "com.microsoft:connection-closed-on-new-connection"
	condArgument      = "com.microsoft:argument-error"
	condConflict      = "com.microsoft:link-creation-conflict"
)

// describe returns an error description in the shape of IoT Hub's: a JSON object with one of the codes of "Troubleshoot IoT Hub error codes".
func describe(code int, message string, now time.Time) string {
	text, err := json.Marshal(struct {
		ErrorCode    int    `json:"errorCode"`
		TrackingID   string `json:"trackingId"`
		Message      string `json:"message"`
		TimestampUTC string `json:"timestampUtc"`
	}{code, randomHex(16), message, now.UTC().Format("2006-01-02T15:04:05.0000000Z")})
	if err != nil { // cannot happen: plain strings and numbers
		return message
	}
	return string(text)
}

func joinRefusal(sentinel error, e *amqpd.Error) error { return fmt.Errorf("%w: %w", sentinel, e) }
