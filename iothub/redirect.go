package iothub

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Redirect is where a hub sends a connection or a link (AMQP 1.0 part 2 §2.8.16 and §2.8.18).
type Redirect struct {
	// Host and Port are what to dial: the network-host, or the hostname where there is none. Port is 0 where none was named.
	Host string
	Port int
	// Hostname is the name for TLS and the AMQP open.
	Hostname string
	// Address is the link's address there, without scheme and host; "" for a connection.
	Address string
}

// String returns HOST:PORT, with the address behind it where there is one.
func (r *Redirect) String() string {
	s := r.Host
	if r.Port != 0 {
		s = net.JoinHostPort(r.Host, strconv.Itoa(r.Port))
	}
	return s + r.Address
}

var errNowhere = errors.New("the redirect names no place that could be dialled")

// parseRedirect reads the info map of a redirect.
func parseRedirect(info map[string]any) (*Redirect, error) {
	text := func(key string) string { s, _ := info[key].(string); return s }
	r := &Redirect{Host: text("network-host"), Hostname: text("hostname"), Address: text("address")}
	host := ""
	if _, rest, ok := strings.Cut(r.Address, "://"); ok { // a whole URL
		authority, path, _ := strings.Cut(rest, "/")
		host, r.Address = hostOnly(authority), path
	}
	if r.Address = strings.Trim(r.Address, "/"); r.Address != "" {
		r.Address = "/" + r.Address
	}
	if r.Hostname == "" {
		r.Hostname = host
	}
	if r.Host == "" {
		r.Host = r.Hostname
	}
	if r.Hostname == "" {
		r.Hostname = r.Host
	}
	if r.Host == "" || strings.ContainsAny(r.Host+r.Hostname, " /@\x00") {
		return nil, errNowhere
	}
	if port, ok := info["port"]; ok {
		n, ok := integer(port)
		if !ok || n > 65535 {
			return nil, fmt.Errorf("%w: port %v", errNowhere, port)
		}
		r.Port = int(n)
	}
	return r, nil
}

// place is where a connection goes and what it asks for there: the device's own hub, or what a redirect named.
type place struct {
	host string // to dial
	port int    // 0: the transport's own
	tls  string // the name that the certificate must be for
	open string // the hostname of the AMQP open
	// audience is whose tokens are wanted.
	audience string
	// telemetry and command are the addresses of the links.
	telemetry, command string
}

// home is the place that the options name.
func home(o *Options) place {
	host, port := splitPort(o.Gateway)
	if host == "" {
		host, port = splitPort(o.Host)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		n = o.Port
	}
	hub := hostOnly(o.Host)
	return place{
		host: host, port: n, tls: host, open: hub, audience: hub,
		telemetry: address(o, "messages/events"), command: address(o, "messages/devicebound"),
	}
}

// address is that of a device's or module's node.
func address(o *Options, node string) string {
	a := "/devices/" + url.PathEscape(o.DeviceID)
	if o.ModuleID != "" {
		a += "/modules/" + url.PathEscape(o.ModuleID)
	}
	return a + "/" + node
}

// towards returns where a redirect met at p leads: to the network-host, with the hostname as the name for TLS and the open (AMQP 1.0 part 2 §2.8.16).
// Whoever carries that name checks the tokens, so they are made for it, unless it is a bare address, which no hub has for a name. The redirect of a link
// takes the whole connection along, because the hub takes one connection of a device; its address replaces that of the link alone.
func (p place) towards(r *Redirect, link Part) place {
	to := p
	to.host, to.port, to.tls, to.open = r.Host, r.Port, r.Hostname, r.Hostname
	if r.Port == defaultPort {
		to.port = 0 // which a transport that cannot use it may replace by its own
	}
	if net.ParseIP(r.Hostname) == nil {
		to.audience = r.Hostname
	}
	switch {
	case r.Address == "":
	case link == Telemetry:
		to.telemetry = r.Address
	case link == Command:
		to.command = r.Address
	}
	return to
}

// String returns HOST:PORT.
func (p place) String() string {
	if p.port == 0 {
		return p.host
	}
	return net.JoinHostPort(p.host, strconv.Itoa(p.port))
}

// infoMap decodes the map of an error's info, of which it keeps the texts and whole numbers under keys that are text; nil for anything but a map. The
// value has been checked by skipValue.
func infoMap(b []byte) map[string]any {
	var inside []byte
	switch {
	case len(b) > 3 && b[0] == 0xc1:
		inside = b[3:]
	case len(b) > 9 && b[0] == 0xd1:
		inside = b[9:]
	default:
		return nil
	}
	info := map[string]any{}
	for len(inside) > 0 {
		var pair [2][]byte
		for i := range pair {
			rest, err := skipValue(inside, 1)
			if err != nil {
				return info // cannot be, for the whole has been checked
			}
			pair[i], inside = inside[:len(inside)-len(rest)], rest
		}
		if key := textField(pair[:], 0); key != "" {
			if v := infoValue(pair[:]); v != nil {
				info[key] = v
			}
		}
	}
	return info
}

// infoValue decodes the second of a pair; nil for what is neither a text nor a whole number.
func infoValue(pair [][]byte) any {
	if text := textField(pair, 1); text != "" {
		return text
	}
	v := pair[1]
	switch v[0] {
	case 0x43, 0x44, 0x50, 0x52, 0x53, 0x60, 0x70, 0x80: // without a sign
		var n uint64
		for _, c := range v[1:] {
			n = n<<8 | uint64(c)
		}
		return n
	case 0x51, 0x54, 0x55, 0x61, 0x71, 0x81: // with one
		n := int64(int8(v[1]))
		for _, c := range v[2:] {
			n = n<<8 | int64(c)
		}
		return n
	}
	return nil
}
