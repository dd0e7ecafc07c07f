package iothub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	amqp "github.com/Azure/go-amqp"
)

func TestClassOf(t *testing.T) {
	tests := []struct {
		condition, description string
		want, fault            Class // for links and connections, and for a rejected message
	}{
		{"", "", ClassNetwork, ClassUnknown},
		{"amqp:internal-error", "", ClassServer, ClassServer},
		{"amqp:internal-error", "Another AMQP Client has opened a Receive Link", ClassDisplaced, ClassDisplaced},
		{"amqp:not-found", "", ClassAuth, ClassAuth},
		{"amqp:unauthorized-access", "Token Invalid.", ClassAuth, ClassAuth},
		{"amqp:not-allowed", "", ClassProtocol, ClassMessage},
		{"amqp:not-implemented", "", ClassProtocol, ClassMessage},
		{"amqp:resource-limit-exceeded", "", ClassQuota, ClassQuota},
		{"amqp:resource-locked", "", ClassServer, ClassServer},
		{"amqp:resource-deleted", "", ClassAuth, ClassAuth},
		{"amqp:invalid-field", "", ClassProtocol, ClassMessage},
		{"amqp:decode-error", "", ClassProtocol, ClassMessage},
		{"amqp:illegal-state", "", ClassProtocol, ClassMessage},
		{"amqp:frame-size-too-small", "", ClassProtocol, ClassMessage},
		{"amqp:precondition-failed", "", ClassProtocol, ClassMessage},
		{"com.microsoft:precondition-failed", "", ClassProtocol, ClassMessage},
		{"amqp:transfer-limit-exceeded", "", ClassThrottled, ClassThrottled},
		{"amqp:link:transfer-limit-exceeded", "", ClassThrottled, ClassThrottled},
		{"amqp:link:message-size-exceeded", "", ClassMessage, ClassMessage},
		{"amqp:link:detach-forced", "Server Busy. Please retry operation", ClassServer, ClassServer},
		{"amqp:link:stolen", "", ClassDisplaced, ClassDisplaced},
		{"amqp:link:redirect", "", ClassRedirect, ClassRedirect},
		{"amqp:connection:forced", "", ClassServer, ClassServer},
		{"amqp:connection:framing-error", "", ClassProtocol, ClassMessage},
		{"amqp:connection:redirect", "", ClassRedirect, ClassRedirect},
		{"amqp:session:window-violation", "", ClassProtocol, ClassMessage},
		{"amqp:session:errant-link", "", ClassProtocol, ClassMessage},
		{"amqp:session:handle-in-use", "", ClassProtocol, ClassMessage},
		{"amqp:session:unattached-handle", "", ClassProtocol, ClassMessage},
		{"com.microsoft:device-container-throttled", "", ClassThrottled, ClassThrottled},
		{"com.microsoft:timeout", "", ClassServer, ClassServer},
		{"com.microsoft:server-busy", "", ClassThrottled, ClassThrottled},
		{"com.microsoft:argument-error", "", ClassMessage, ClassMessage},
		{"com.microsoft:argument-out-of-range", "", ClassMessage, ClassMessage},
		{"com.microsoft:device-already-exists", "", ClassProtocol, ClassMessage},
		{"com.microsoft:message-lock-lost", "", ClassMessage, ClassMessage},
		{"com.microsoft:iot-hub-not-found-error", "", ClassDisabled, ClassDisabled},
		{"com.microsoft:iot-hub-suspended", "", ClassDisabled, ClassDisabled},
		{"com.microsoft:quota-exceeded", "", ClassQuota, ClassQuota},
		{"com.microsoft:link-creation-conflict", "", ClassDisplaced, ClassDisplaced},
		{"com.microsoft:connection-closed-on-new-connection", "Backend initiated disconnection.", ClassDisplaced, ClassDisplaced},
		{"com.contoso:new", "", ClassUnknown, ClassUnknown},
		// The code says more than the condition.
		{"amqp:not-found", `{"errorCode":404001,"trackingId":"a","message":"b","timestampUtc":"c"}`, ClassAuth, ClassAuth},
		{"amqp:not-found", `{"errorCode":404012}`, ClassServer, ClassServer},
		{"amqp:unauthorized-access", `{"errorCode":403012}`, ClassDisabled, ClassDisabled},
		{"amqp:unauthorized-access", `"{\"errorCode\":\"401003\"}"`, ClassAuth, ClassAuth},
		{"amqp:resource-limit-exceeded", `ErrorCode: 403005; too many`, ClassThrottled, ClassThrottled},
		{"amqp:connection:forced", `{"ErrorCode":400027}`, ClassDisplaced, ClassDisplaced},
		{"amqp:connection:forced", `{"errorCode":400029}`, ClassServer, ClassServer},
		{"amqp:internal-error", `{"errorCode":429002}`, ClassThrottled, ClassThrottled},
		{"amqp:internal-error", `{"errorCode":413001}`, ClassMessage, ClassMessage},
		{"amqp:internal-error", `{"errorCode":503008}`, ClassThrottled, ClassThrottled},
		{"amqp:internal-error", `{"errorCode":504101}`, ClassServer, ClassServer},
		{"amqp:not-found", `{"errorCode":"lots"}`, ClassAuth, ClassAuth},
		{"amqp:not-found", `{"errorCode":40400100000000000000}`, ClassAuth, ClassAuth},
		{"amqp:not-found", `{"errorCode":`, ClassAuth, ClassAuth},
	}
	for _, tt := range tests {
		if got := classOf(tt.condition, tt.description); got != tt.want {
			t.Errorf("classOf(%s, %s) = %s, want %s", tt.condition, tt.description, got, tt.want)
		}
		if got := faultOf(tt.condition, tt.description); got != tt.fault {
			t.Errorf("faultOf(%s, %s) = %s, want %s", tt.condition, tt.description, got, tt.fault)
		}
	}
}

func TestFailure(t *testing.T) {
	throttled := &amqp.Error{Condition: "com.microsoft:device-container-throttled"}
	tests := []struct {
		err  error
		want Class
		hint string
	}{
		{io.EOF, ClassNetwork, ""},
		{&amqp.ConnError{}, ClassNetwork, ""},
		{throttled, ClassThrottled, ""},
		{&amqp.LinkError{RemoteErr: throttled}, ClassThrottled, ""},
		{&amqp.SessionError{RemoteErr: throttled}, ClassThrottled, ""},
		{&amqp.ConnError{RemoteErr: throttled}, ClassThrottled, ""},
		{errors.New("SASL PLAIN auth failed with code 0x2: "), ClassAuth, "clock"}, // trap 13
		{errors.New("no supported auth mechanism ([EXTERNAL])"), ClassProtocol, ""},
		{errors.New("received detach with no error specified"), ClassProtocol, ""},
		{&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, ClassClock, "clock"},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, ClassAuth, "ca_file"},
		{&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}}}, ClassAuth, "host name"},
		{fmt.Errorf("x: %w", &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}), ClassAuth, "certificate"},
		{tls.RecordHeaderError{}, ClassProtocol, "TLS"},
		{fmt.Errorf("i/o: %w", context.DeadlineExceeded), ClassNetwork, "5671"},
		{&Error{Op: "x", Class: ClassClock}, ClassClock, ""},
	}
	for _, tt := range tests {
		got := failure("dial", tt.err)
		if got.Class != tt.want || !strings.Contains(got.Hint, tt.hint) || got.Error() == "" {
			t.Errorf("%v: class %s, hint %q; want %s, %q", tt.err, got.Class, got.Hint, tt.want, tt.hint)
		}
	}
}

func FuzzErrorCode(f *testing.F) {
	f.Add(`{"errorCode":404001}`)
	f.Add(`"{\"errorCode\":\"401003\"}"`)
	f.Add("errorcode")
	f.Fuzz(func(t *testing.T, s string) {
		if code := errorCode(s); code != 0 && (code < 100000 || code > 999999) {
			t.Errorf("code %d", code)
		}
	})
}
