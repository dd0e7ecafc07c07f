package service

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// redirect says where telemetry is read: whom to dial, who must answer there, and the name of the event hub.
type redirect struct{ hostname, addr, entity string }

// parseRedirect reads the info map of amqp:link:redirect (AMQP 1.0 part 2, 2.8.18).
func parseRedirect(info map[string]any) (redirect, error) {
	text := func(key string) string { s, _ := info[key].(string); return s }
	u, err := url.Parse(text("address"))
	if err != nil || u.Hostname() == "" {
		return redirect{}, fmt.Errorf("events: the hub redirects to %q, which is no address", text("address"))
	}
	r := redirect{hostname: text("hostname"), entity: entityOf(u.Path)}
	if r.hostname == "" {
		r.hostname = u.Hostname()
	}
	if r.entity == "" {
		return redirect{}, fmt.Errorf("events: the hub redirects to %q, which names no event hub", text("address"))
	}
	host, port := text("network-host"), u.Port()
	if host == "" {
		host = u.Hostname()
	}
	if n := integer(info["port"]); n > 0 {
		port = strconv.FormatInt(n, 10)
	}
	if port == "" {
		port = defaultPort
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return redirect{}, fmt.Errorf("events: the hub redirects to port %s, which cannot be", port)
	}
	r.addr = net.JoinHostPort(host, port)
	return r, nil
}

// entityOf cuts the tail that names a node inside an event hub off a path.
func entityOf(path string) string {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	for i, s := range segments {
		if strings.EqualFold(s, "$management") || strings.EqualFold(s, "ConsumerGroups") {
			return strings.Join(segments[:i], "/")
		}
	}
	return strings.Join(segments, "/")
}
