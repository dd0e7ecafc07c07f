package hubsim

import (
	"net/url"
	"strings"
)

// node is a kind of place that a link can be attached to.
type node uint8

const (
	nodeUnknown        node = iota
	nodeCBS                 // $cbs, both directions
	nodeTelemetry           // a device sends its telemetry here
	nodeCommands            // a device receives its commands here
	nodeSend                // a service sends commands here
	nodeFeedback            // a service receives feedback here
	nodeDeviceFeedback      // a device reports outcomes here; the documentation lists it, no SDK opens it
	nodeEvents              // a service receives telemetry here, after a redirect
	nodeManagement          // request and response about partitions, after a redirect
	nodeTwin                // a device asks for its twin, reports, and hears of changes; both directions
	nodeMethods             // a device receives direct methods and answers them; both directions
	nodeUnsupported         // known to IoT Hub and not built here: file notifications
)

// address is what a link's address means.
type address struct {
	node           node
	device, module string
	// redirect says that the address is the hub's own name of its events, which answers with where they really are.
	redirect bool
	// tail is what follows the event entity: "ConsumerGroups/$Default/Partitions/0", "$management" or "".
	tail             string
	group, partition string
}

// identity names who the address belongs to, as the keys of Server.devices do; "" for the hub itself.
func (a address) identity() string { return identityKey(a.device, a.module) }

// parseAddress reads a link address. Clients spell the same node in many ways: with a scheme and a host or without, with a leading slash or
// without, in any letter case, with percent-encoded ids. Entity is the name of the event hub that this hub redirects to.
func parseAddress(text, entity string) address {
	segs := pathSegments(text)
	lower := strings.ToLower(strings.Join(segs, "/"))
	switch lower {
	case "$cbs":
		return address{node: nodeCBS}
	case "messages/devicebound":
		return address{node: nodeSend}
	case "messages/servicebound/feedback":
		return address{node: nodeFeedback}
	case "messages/servicebound/filenotifications":
		return address{node: nodeUnsupported}
	case "$management":
		return address{node: nodeManagement}
	}
	switch {
	case lower == "messages/events" || strings.HasPrefix(lower, "messages/events/"):
		return eventAddress(segs[2:], true)
	case len(segs) >= 2 && strings.EqualFold(segs[0], entity):
		return eventAddress(segs[1:], false)
	case len(segs) >= 3 && strings.EqualFold(segs[0], "devices") && segs[1] != "":
		return deviceAddress(segs)
	}
	return address{}
}

func deviceAddress(segs []string) address {
	a := address{device: segs[1]}
	rest := segs[2:]
	if len(rest) >= 3 && strings.EqualFold(rest[0], "modules") {
		a.module, rest = rest[1], rest[2:]
	}
	if strings.Contains(a.device+a.module, "/") { // percent-encoded in the text, and in no id
		return address{}
	}
	switch strings.ToLower(strings.Join(rest, "/")) {
	case "messages/events":
		a.node = nodeTelemetry
	case "messages/devicebound":
		a.node = nodeCommands
	case "twin":
		a.node = nodeTwin
	case "methods/devicebound":
		a.node = nodeMethods
	}
	return a
}

func eventAddress(tail []string, redirect bool) address {
	a := address{redirect: redirect, tail: strings.Join(tail, "/")}
	switch {
	case len(tail) == 0 && redirect:
		a.node = nodeEvents
	case len(tail) == 1 && strings.EqualFold(tail[0], "$management"):
		a.node = nodeManagement
	case len(tail) == 4 && strings.EqualFold(tail[0], "ConsumerGroups") && strings.EqualFold(tail[2], "Partitions"):
		a.node, a.group, a.partition = nodeEvents, tail[1], tail[3]
	}
	return a
}

// pathSegments returns the decoded path of an address or a token's resource, without scheme and host when there is a scheme.
func pathSegments(text string) []string {
	if _, after, ok := strings.Cut(text, "://"); ok {
		_, text, _ = strings.Cut(after, "/")
	}
	text = strings.Trim(text, "/")
	if text == "" {
		return nil
	}
	segs := strings.Split(text, "/")
	for i, s := range segs {
		if d, err := url.PathUnescape(s); err == nil {
			segs[i] = d // a stray percent sign is part of an id
		}
	}
	return segs
}
