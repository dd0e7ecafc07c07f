package iothub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	amqp "github.com/Azure/go-amqp"

	"iotagent/iothub/transport"
)

// Every condition that hubs are known to send, on a link or connection and as the reason of a rejected message.
func TestConditions(t *testing.T) {
	const nothing, something = false, true // for a person to do
	tests := []struct {
		condition   string
		want, fault Class
		hint        bool
	}{
		{"", ClassNetwork, ClassUnknown, nothing},
		{"amqp:internal-error", ClassServer, ClassServer, something},
		{"amqp:not-found", ClassAuth, ClassAuth, something},
		{"amqp:unauthorized-access", ClassAuth, ClassAuth, something},
		{"amqp:not-allowed", ClassProtocol, ClassMessage, something},
		{"amqp:not-implemented", ClassProtocol, ClassMessage, something},
		{"amqp:resource-limit-exceeded", ClassQuota, ClassQuota, something},
		{"amqp:resource-locked", ClassServer, ClassServer, something},
		{"amqp:resource-deleted", ClassAuth, ClassAuth, something},
		{"amqp:invalid-field", ClassProtocol, ClassMessage, something},
		{"amqp:decode-error", ClassProtocol, ClassMessage, something},
		{"amqp:illegal-state", ClassProtocol, ClassMessage, something},
		{"amqp:frame-size-too-small", ClassProtocol, ClassMessage, something},
		{"amqp:precondition-failed", ClassProtocol, ClassMessage, something},
		{"com.microsoft:precondition-failed", ClassProtocol, ClassMessage, something},
		{"amqp:transfer-limit-exceeded", ClassThrottled, ClassThrottled, something},
		{"amqp:link:transfer-limit-exceeded", ClassThrottled, ClassThrottled, something},
		{"amqp:link:message-size-exceeded", ClassMessage, ClassMessage, something},
		{"amqp:link:detach-forced", ClassServer, ClassServer, something},
		{"amqp:link:stolen", ClassDisplaced, ClassDisplaced, something},
		{"amqp:link:redirect", ClassRedirect, ClassRedirect, something}, // it names no place here
		{"amqp:connection:forced", ClassServer, ClassServer, something},
		{"amqp:connection:framing-error", ClassProtocol, ClassMessage, something},
		{"amqp:connection:redirect", ClassRedirect, ClassRedirect, something},
		{"amqp:session:window-violation", ClassProtocol, ClassMessage, something},
		{"amqp:session:errant-link", ClassProtocol, ClassMessage, something},
		{"amqp:session:handle-in-use", ClassProtocol, ClassMessage, something},
		{"amqp:session:unattached-handle", ClassProtocol, ClassMessage, something},
		{"com.microsoft:device-container-throttled", ClassThrottled, ClassThrottled, something},
		{"com.microsoft:timeout", ClassServer, ClassServer, something},
		{"com.microsoft:server-busy", ClassThrottled, ClassThrottled, something},
		{"com.microsoft:argument-error", ClassMessage, ClassMessage, something},
		{"com.microsoft:argument-out-of-range", ClassMessage, ClassMessage, something},
		{"com.microsoft:device-already-exists", ClassProtocol, ClassMessage, something},
		{"com.microsoft:message-lock-lost", ClassMessage, ClassMessage, something},
		{"com.microsoft:iot-hub-not-found-error", ClassDisabled, ClassDisabled, something},
		{"com.microsoft:iot-hub-suspended", ClassDisabled, ClassDisabled, something},
		{"com.microsoft:quota-exceeded", ClassQuota, ClassQuota, something},
		{"com.microsoft:link-creation-conflict", ClassDisplaced, ClassDisplaced, something},
		{"com.microsoft:connection-closed-on-new-connection", ClassDisplaced, ClassDisplaced, something},
		{"com.contoso:new", ClassUnknown, ClassUnknown, nothing},
	}
	known := 0
	for _, tt := range tests {
		e := refusal("attach", tt.condition, "")
		if e.Class != tt.want || (e.Hint != "") != tt.hint {
			t.Errorf("%s: class %s, hint %q; want %s, hint %v", tt.condition, e.Class, e.Hint, tt.want, tt.hint)
		}
		if got := faultOf(tt.condition, ""); got != tt.fault {
			t.Errorf("%s rejects a message as %s, want %s", tt.condition, got, tt.fault)
		}
		if e.Class != ClassUnknown {
			known++
		}
	}
	rows := map[string]int{}
	for _, k := range kinds() {
		for _, c := range k.conditions {
			rows[c]++
		}
	}
	if len(rows) != known {
		t.Errorf("%d conditions in the table, %d tested", len(rows), known)
	}
	for c, n := range rows {
		if n != 1 {
			t.Errorf("%s stands in %d rows", c, n)
		}
	}
}

// Every code of "Troubleshoot Azure IoT Hub error codes", and of the families one that nobody knows yet.
func TestCodes(t *testing.T) {
	tests := map[Class][]int{
		ClassServer:    {400024, 400029, 400030, 404012, 404103, 404104, 412004, 500001, 500008, 500999, 503001, 503999, 504101, 504999},
		ClassThrottled: {403005, 403800, 429001, 429002, 429003, 429005, 429999, 503005, 503008},
		ClassQuota:     {403002, 403004, 403007},
		ClassAuth:      {401002, 401003, 401999, 404001, 404010, 404999},
		ClassDisabled:  {401001, 403001, 403012},
		ClassDisplaced: {400027, 409002, 409003},
		ClassMessage:   {400004, 400005, 400026, 403009, 412002, 413001},
		ClassProtocol:  {400003, 404006, 409001, 412001},
	}
	tested := map[int]bool{}
	for want, codes := range tests {
		for _, code := range codes {
			tested[code] = true
			// The code says more than the condition, also than one that is wrong.
			e := refusal("send", "com.contoso:new", fmt.Sprintf(`{"errorCode":%d,"trackingId":"a","message":"b"}`, code))
			if e.Class != want || e.Hint == "" || e.Code() != code {
				t.Errorf("%d: class %s, hint %q, want %s", code, e.Class, e.Hint, want)
			}
		}
	}
	seen := map[int]bool{}
	for _, k := range kinds() {
		for _, code := range k.codes {
			if !tested[code] || seen[code] {
				t.Errorf("%d is not tested, or stands in two rows", code)
			}
			seen[code] = true
		}
	}
	if class := classOf("amqp:not-found", `{"errorCode":402000}`); class != ClassAuth {
		t.Errorf("an unknown family hides the condition: %s", class)
	}
}

// How descriptions spell the code.
func TestDescriptions(t *testing.T) {
	tests := []struct {
		condition, description string
		want                   Class
		code                   int
	}{
		{"amqp:not-found", `{"errorCode":404001,"trackingId":"a","message":"b","timestampUtc":"c"}`, ClassAuth, 404001},
		{"amqp:unauthorized-access", `"{\"errorCode\":\"401003\"}"`, ClassAuth, 401003},
		{"amqp:resource-limit-exceeded", `ErrorCode: 403005; too many`, ClassThrottled, 403005},
		{"amqp:connection:forced", `{"ErrorCode":400027}`, ClassDisplaced, 400027},
		{"amqp:internal-error", "Another AMQP Client has opened a Receive Link", ClassDisplaced, 0},
		{"amqp:link:detach-forced", "Server Busy. Please retry operation", ClassServer, 0},
		{"amqp:unauthorized-access", "Token Invalid.", ClassAuth, 0},
		{"com.microsoft:connection-closed-on-new-connection", "Backend initiated disconnection.", ClassDisplaced, 0},
		{"amqp:not-found", `{"errorCode":"lots"}`, ClassAuth, 0},
		{"amqp:not-found", `{"errorCode":40400100000000000000}`, ClassAuth, 0},
		{"amqp:not-found", `{"errorCode":`, ClassAuth, 0},
		{"amqp:not-found", `{"errorCode":404}`, ClassAuth, 0},
	}
	for _, tt := range tests {
		if got := refusal("x", tt.condition, tt.description); got.Class != tt.want || got.Code() != tt.code {
			t.Errorf("%s, %s: %s, %d; want %s, %d", tt.condition, tt.description, got.Class, got.Code(), tt.want, tt.code)
		}
	}
}

// What becomes of a message: the words of a rejection, which alone may condemn it.
func TestRejections(t *testing.T) {
	tests := []struct {
		condition, description string
		want                   Class
	}{
		{"amqp:resource-limit-exceeded", `{"errorCode":403002}`, ClassQuota},
		{"com.microsoft:device-container-throttled", `{"errorCode":429001}`, ClassThrottled},
		{"amqp:link:message-size-exceeded", `{"errorCode":413001}`, ClassMessage},
		{"amqp:internal-error", "", ClassServer},
		{"com.microsoft:timeout", "", ClassServer},
		{"amqp:not-allowed", `{"errorCode":400026}`, ClassMessage},
		{"", "", ClassUnknown},
		{"com.contoso:new", "", ClassUnknown},
	}
	for _, tt := range tests {
		var encoded []byte
		if tt.condition != "" {
			text := func(constructor byte, s string) []byte { return append([]byte{constructor, byte(len(s))}, s...) }
			encoded = append([]byte{0, 0x53, 0x1d}, encodeList([][]byte{text(0xa3, tt.condition), text(0xa1, tt.description)}, false)...)
		}
		o := rejected(encoded)
		if o.State != Rejected || o.Err.Class != tt.want || o.Err.Condition != tt.condition || o.Err.Description != tt.description {
			t.Errorf("%s: %+v, want %s", tt.condition, o.Err, tt.want)
		}
	}
}

// What a put-token is answered with.
func TestRefusedTokens(t *testing.T) {
	tests := []struct {
		status      int
		description string
		want        Class
		hint        string
	}{
		{401, "The specified SAS token is expired", ClassAuth, "clock"},
		{401, "The specified SAS token has an invalid signature. It does not match either the primary or secondary key.", ClassAuth, "clock or key"},
		{401, "Device pi-17 at IotHub myhub not registered.", ClassAuth, "DeviceId"},
		{401, "Device pi-17 at IotHub myhub is disabled.", ClassDisabled, "enable"},
		{401, `{"errorCode":401001}`, ClassDisabled, "HostName"},
		{401, `{"errorCode":401002}`, ClassAuth, "clock or key"},
		{401, `{"errorCode":403012}`, ClassDisabled, "enable"},
		{400, "malformed", ClassAuth, ""},
		{403, "", ClassThrottled, "patience"},
		{404, "", ClassAuth, "DeviceId"},
		{429, "", ClassThrottled, "patience"},
		{500, "", ClassServer, "hub"},
		{503, "", ClassServer, "hub"},
	}
	for _, tt := range tests {
		e := refusedToken(tt.status, tt.description)
		if e.Class != tt.want || !strings.Contains(e.Hint, tt.hint) || e.Op != "put-token" {
			t.Errorf("%d %s: %s, %q", tt.status, tt.description, e.Class, e.Hint)
		}
	}
}

// What fails below AMQP: the name service, the network, TLS, proxies, and what the library says in words only.
func TestFailure(t *testing.T) {
	throttled := &amqp.Error{Condition: "com.microsoft:device-container-throttled"}
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	way := func(op string, err error) error { return &transport.Error{Op: op, Addr: "hub:5671", Err: err} }
	cert := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}
	tests := []struct {
		err  error
		op   string
		want Class
		hint string
	}{
		{io.EOF, "open", ClassNetwork, ""},
		{&amqp.ConnError{}, "open", ClassNetwork, ""},
		{throttled, "open", ClassThrottled, "patience"},
		{&amqp.LinkError{RemoteErr: throttled}, "open", ClassThrottled, ""},
		{&amqp.SessionError{RemoteErr: throttled}, "open", ClassThrottled, ""},
		{&amqp.ConnError{RemoteErr: throttled}, "open", ClassThrottled, ""},
		{errors.New("SASL PLAIN auth failed with code 0x2: "), "sasl", ClassAuth, "clock"}, // trap 13
		{errors.New("no supported auth mechanism ([EXTERNAL])"), "open", ClassProtocol, ""},
		{errors.New("received detach with no error specified"), "open", ClassProtocol, ""},
		{&Error{Op: "x", Class: ClassClock}, "x", ClassClock, ""},

		{way("dial", &net.DNSError{Name: "myhub", IsNotFound: true}), "dial", ClassNetwork, "knows no myhub"},
		{way("dial", &net.DNSError{Name: "myhub", IsTimeout: true}), "dial", ClassNetwork, "name server does not answer"},
		{way("dial", dial(syscall.ECONNREFUSED)), "dial", ClassNetwork, "nothing listens"},
		{way("dial", dial(syscall.ENETUNREACH)), "dial", ClassNetwork, "no way there"},
		{way("dial", dial(syscall.EHOSTUNREACH)), "dial", ClassNetwork, "no way there"},
		{way("dial", dial(syscall.ENETDOWN)), "dial", ClassNetwork, "interface is down"},
		{way("dial", dial(syscall.ETIMEDOUT)), "dial", ClassNetwork, "5671"},
		{way("dial", fmt.Errorf("i/o: %w", context.DeadlineExceeded)), "dial", ClassNetwork, "5671"},
		{way("tls", context.DeadlineExceeded), "tls", ClassNetwork, "5671"},
		{way("websocket", os.ErrDeadlineExceeded), "websocket", ClassNetwork, "443"},
		{way("tls", io.EOF), "tls", ClassNetwork, ""},
		{way("tls", dial(syscall.ECONNRESET)), "tls", ClassNetwork, ""},
		{context.DeadlineExceeded, "open", ClassNetwork, ""},

		{way("tls", cert(x509.CertificateInvalidError{Reason: x509.Expired})), "tls", ClassClock, "clock"},
		{way("tls", cert(x509.CertificateInvalidError{Reason: x509.IncompatibleUsage})), "tls", ClassAuth, "intercepts"},
		{way("tls", cert(x509.UnknownAuthorityError{})), "tls", ClassAuth, "ca_file"},
		{way("tls", cert(x509.SystemRootsError{})), "tls", ClassAuth, "ca_file"},
		{way("tls", cert(x509.HostnameError{Certificate: &x509.Certificate{}})), "tls", ClassAuth, "host name"},
		{way("tls", alert), "tls", ClassAuth, "certificate"},
		{fmt.Errorf("x: %w", alert), "open", ClassAuth, "certificate"}, // with TLS 1.3 it comes after the handshake
		{way("tls", tls.RecordHeaderError{}), "tls", ClassProtocol, "TLS"},
		{way("proxy", transport.ErrProxyAuth), "proxy", ClassAuth, "user and a password"},
		{way("proxy", errors.New("502 Bad Gateway")), "proxy", ClassNetwork, ""},
		{&transport.Error{Op: "dial", Err: fmt.Errorf("%w; and %w", way("dial", dial(syscall.ECONNREFUSED)), way("websocket", io.EOF))}, "dial", ClassNetwork, "nothing listens"},
	}
	for _, tt := range tests {
		got := failure("open", tt.err)
		if got.Class != tt.want || !strings.Contains(got.Hint, tt.hint) || got.Error() == "" || got.Op != tt.op {
			t.Errorf("%v: op %s, class %s, hint %q; want %s, %s, %q", tt.err, got.Op, got.Class, got.Hint, tt.op, tt.want, tt.hint)
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
