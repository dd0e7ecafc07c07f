package hubsim

import (
	"encoding/json"
	"fmt"
	"strings"
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

// failure is the refusal of an operation on identities, twins or methods, in the words of IoT Hub's REST API. The AMQP endpoints answer with
// its status and its code.
type failure struct {
	status  int
	code    int    // of "Troubleshoot IoT Hub error codes"
	name    string // the same as a word
	message string
	cause   error // for errors.Is; may be nil
	// asJSON marks the refusals whose message the REST API gives as an object with the code in it.
	asJSON bool
}

// Error returns the message.
func (f *failure) Error() string { return f.name + ": " + f.message }

// Unwrap returns the sentinel that stands for this refusal.
func (f *failure) Unwrap() error { return f.cause }

func badArgument(format string, args ...any) *failure {
	return &failure{status: 400, code: 400004, name: "ArgumentInvalid", message: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) *failure {
	return &failure{status: 413, code: 413001, name: "MessageTooLarge", message: fmt.Sprintf(format, args...)}
}

func etagMismatch() *failure {
	return &failure{status: 412, code: 412001, name: "PreconditionFailed", message: "Precondition failed: the etag or version is not the current one."}
}

// unknownLocked is the refusal for an identity that is not registered.
func (s *Server) unknownLocked(key string) *failure {
	device, module, isModule := strings.Cut(key, "/")
	if isModule && s.devices[device] != nil {
		return &failure{status: 404, code: 404010, name: "ModuleNotFound", message: fmt.Sprintf("Module %s on device %s not registered.", module, device), cause: ErrUnknownDevice}
	}
	return &failure{status: 404, code: 404001, name: "DeviceNotFound", message: fmt.Sprintf("Device %s not registered.", device), cause: ErrUnknownDevice}
}
