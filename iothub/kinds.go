package iothub

import (
	"slices"
	"strings"
)

// kind is what the hub's refusals of one sort have in common.
type kind struct {
	class Class
	// conditions are the AMQP conditions of the sort, codes the six digits in a description, families the first three digits of codes that
	// stand in no row. A code says more than the condition beside it.
	conditions []string
	codes      []int
	families   []int
	// hint is what a person can do about it, "" where there is nothing.
	hint string
}

// kinds is the table of all refusals ("Troubleshoot Azure IoT Hub error codes" and AMQP 1.0 part 2 §2.8.15 to §2.8.18). What it does not know is
// ClassUnknown.
func kinds() []kind {
	return []kind{
		{
			class: ClassServer, hint: "nothing to do here: the hub is being moved or has trouble of its own",
			conditions: []string{
				"amqp:internal-error", "amqp:link:detach-forced", "amqp:connection:forced", "amqp:resource-locked", "com.microsoft:timeout",
			},
			// 400029 and 400030 are the hub's upgrades, 404012 is a failover, 404103 and 404104 lost connections, 412004 messages still on a link.
			codes:    []int{400024, 400029, 400030, 404012, 404103, 404104, 412004},
			families: []int{500, 503, 504},
		}, {
			class: ClassThrottled, hint: "nothing to do here: the hub asks for patience; more units of the hub carry more devices and messages",
			conditions: []string{
				"com.microsoft:device-container-throttled", "com.microsoft:server-busy", "amqp:transfer-limit-exceeded", "amqp:link:transfer-limit-exceeded",
			},
			codes:    []int{403005, 403800, 503005, 503008},
			families: []int{429},
		}, {
			class: ClassQuota, hint: "the hub's quota is used up; it begins anew at 00:00 UTC, or with more units",
			conditions: []string{"amqp:resource-limit-exceeded", "com.microsoft:quota-exceeded"},
			codes:      []int{403002, 403004, 403007},
		}, {
			class: ClassAuth, hint: "the hub does not accept this device's identity: check the key, the clock, and that the device is enabled",
			conditions: []string{"amqp:unauthorized-access"},
			families:   []int{401},
		}, {
			class: ClassAuth, hint: "the hub does not know this device: compare DeviceId with the portal",
			conditions: []string{"amqp:not-found", "amqp:resource-deleted"},
			codes:      []int{404001, 404010},
			families:   []int{404},
		}, {
			class: ClassDisabled, hint: "the device or the hub is disabled: enable it in the portal",
			conditions: []string{"com.microsoft:iot-hub-suspended"},
			codes:      []int{403001, 403012},
		}, {
			class: ClassDisabled, hint: "there is no such hub: compare HostName with the portal",
			conditions: []string{"com.microsoft:iot-hub-not-found-error"},
			codes:      []int{401001},
		}, {
			class: ClassDisplaced, hint: "another program is connected with this device's identity; only one can be: stop it, or give it an identity of its own",
			conditions: []string{
				"amqp:link:stolen", "com.microsoft:link-creation-conflict", "com.microsoft:connection-closed-on-new-connection",
			},
			codes: []int{400027, 409002, 409003},
		}, {
			class:      ClassRedirect,
			conditions: []string{"amqp:link:redirect", "amqp:connection:redirect"},
		}, {
			class: ClassMessage, hint: "the hub does not take this message, however often it is sent",
			conditions: []string{
				"amqp:link:message-size-exceeded", "com.microsoft:argument-error", "com.microsoft:argument-out-of-range", "com.microsoft:message-lock-lost",
			},
			codes:    []int{400004, 400005, 400026, 403009, 412002},
			families: []int{413},
		}, {
			class: ClassProtocol, hint: "the hub does not understand this program, or the other way round: report it, with a support-bundle",
			conditions: []string{
				"amqp:not-allowed", "amqp:not-implemented", "amqp:invalid-field", "amqp:decode-error", "amqp:illegal-state", "amqp:frame-size-too-small",
				"amqp:precondition-failed", "com.microsoft:precondition-failed", "com.microsoft:device-already-exists", "amqp:connection:framing-error",
				"amqp:session:window-violation", "amqp:session:errant-link", "amqp:session:handle-in-use", "amqp:session:unattached-handle",
			},
			codes: []int{400003, 404006, 409001, 412001},
		}, {
			class:      ClassNetwork, // closed without a word, as gateways do when they move
			conditions: []string{""},
		},
	}
}

// anotherClient is how some hubs say with amqp:internal-error that somebody else came with the same identity.
const anotherClient = "Another AMQP Client"

// kindOf sorts the hub's words.
func kindOf(condition, description string) kind {
	code := errorCode(description)
	if code == 0 && condition == "amqp:internal-error" && strings.Contains(description, anotherClient) {
		code = 409002
	}
	if k, ok := kindOfCode(code); ok {
		return k
	}
	for _, k := range kinds() {
		if slices.Contains(k.conditions, condition) {
			return k
		}
	}
	return kind{class: ClassUnknown}
}

// kindOfCode sorts a six-digit code, by itself or else by its family; false when neither is known.
func kindOfCode(code int) (kind, bool) {
	all := kinds()
	if i := slices.IndexFunc(all, func(k kind) bool { return slices.Contains(k.codes, code) }); i >= 0 {
		return all[i], true
	}
	if i := slices.IndexFunc(all, func(k kind) bool { return slices.Contains(k.families, code/1000) }); i >= 0 {
		return all[i], true
	}
	return kind{}, false
}

// errorCode finds the six digits after "errorCode" in a description, which is JSON, JSON in quotes, or a sentence; 0 when there are none.
func errorCode(description string) int {
	_, rest, ok := strings.Cut(strings.ToLower(description), "errorcode")
	if !ok {
		return 0
	}
	rest = strings.TrimLeft(rest, "\\\"': =")
	code := 0
	for i := 0; i < len(rest) && rest[i] >= '0' && rest[i] <= '9'; i++ {
		if code = code*10 + int(rest[i]-'0'); code > 999999 {
			return 0
		}
	}
	if code < 100000 {
		return 0
	}
	return code
}
