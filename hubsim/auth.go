package hubsim

import (
	"fmt"
	"strings"
	"time"

	"iotagent/iothub/sas"
)

// grant is what one token gave to a connection.
type grant struct {
	rights right
	// resource is what the token is for, without the host: "devices/pi-17", or "" for the whole hub.
	resource string
	device   string // the identity, as in Server.devices, for a device's or module's own key
	expires  time.Time
	x509     bool        // by a client certificate
	timer    *time.Timer // cuts the links some time after expires
}

// denial is a refusal of credentials, in CBS's numbers and the hub's words.
type denial struct {
	status int32
	text   string
}

// Error returns the hub's words.
func (d *denial) Error() string { return d.text }

// authorizeLocked judges a shared access signature: whose key made it, for what, until when.
func (s *Server) authorizeLocked(text string) (*grant, *denial) {
	t, err := sas.ParseToken(text)
	if err != nil {
		return nil, &denial{400, err.Error()}
	}
	resource, ok := s.ownResource(t.Resource)
	if !ok {
		return nil, &denial{404, "The token is for another hub than " + s.opts.Hostname + "."}
	}
	g := &grant{resource: resource, expires: t.Expires}
	var keys [2]sas.Key
	id := identityIn(pathSegments(resource))
	switch {
	case t.Policy != "":
		p := s.policies[t.Policy]
		if p == nil {
			return nil, &denial{401, "The shared access policy " + t.Policy + " does not exist."}
		}
		keys, g.rights = p.keys, p.rights
	case id != "":
		d := s.devices[id]
		if d == nil {
			return nil, &denial{401, fmt.Sprintf("Device %s at IotHub %s not registered.", id, s.shortName())}
		}
		if s.disabledLocked(d) {
			return nil, &denial{401, fmt.Sprintf("Device %s at IotHub %s is disabled.", d.id, s.shortName())}
		}
		keys, g.rights, g.device = d.keys, deviceConnect, id
	default:
		return nil, &denial{401, "The token names no policy (skn) and no device (sr)."}
	}
	if !signedByAny(t, keys) {
		if t.Policy == "" || g.rights&serviceConnect == 0 || !signedByText(t, keys) {
			return nil, &denial{401, "The specified SAS token has an invalid signature. It does not match either the primary or secondary key."}
		}
		g.rights = eventsListen
	}
	if !s.opts.Now().Before(t.Expires.Add(s.opts.ClockSkew)) {
		return nil, &denial{401, "The specified SAS token is expired"}
	}
	return g, nil
}

func signedByAny(t sas.Token, keys [2]sas.Key) bool {
	return t.SignedBy(keys[0]) || t.SignedBy(keys[1])
}

// signedByText is the rule of the Event Hubs side: the HMAC key is the bytes of the key's text, not what it decodes to.
func signedByText(t sas.Token, keys [2]sas.Key) bool {
	return signedByAny(t, [2]sas.Key{sas.NewKey([]byte(keys[0].Text())), sas.NewKey([]byte(keys[1].Text()))})
}

// ownResource takes scheme, host and port off a token's resource; false means that it names another hub.
func (s *Server) ownResource(resource string) (string, bool) {
	if _, after, ok := strings.Cut(resource, "://"); ok {
		resource = after
	}
	host, rest, _ := strings.Cut(resource, "/")
	if name, _, ok := strings.Cut(host, ":"); ok {
		host = name
	}
	return strings.Trim(rest, "/"), strings.EqualFold(host, s.opts.Hostname) || strings.EqualFold(host, "localhost")
}

// allows reports whether a grant opens an address at a time; the events side is open to every policy that may read telemetry.
func (g *grant) allows(a address) bool {
	switch a.node {
	case nodeTelemetry, nodeCommands, nodeTwin, nodeMethods:
		if g.rights&deviceConnect == 0 {
			return false
		}
		if g.device != "" {
			return g.device == a.identity()
		}
		return sas.Covers("hub/"+g.resource, sas.Resource("hub", a.device, a.module))
	case nodeDeviceFeedback:
		return g.rights&deviceConnect != 0 && g.device != ""
	case nodeEvents, nodeManagement:
		return g.rights&(serviceConnect|eventsListen) != 0
	case nodeSend, nodeFeedback:
		return g.rights&serviceConnect != 0 && g.resource == ""
	case nodeCBS:
		return true
	case nodeUnknown, nodeUnsupported:
	}
	return false
}

// plain judges SASL PLAIN: a device or a policy with a token as its password or, on the Event Hubs side, a policy with its key.
func (s *Server) plainLocked(user, password string) (*grant, error) {
	if p := s.policies[user]; p != nil && p.rights&serviceConnect != 0 {
		if password == p.keys[0].Text() || password == p.keys[1].Text() {
			return &grant{rights: eventsListen}, nil
		}
	}
	g, denied := s.authorizeLocked(password)
	if denied != nil {
		return nil, denied
	}
	at := strings.LastIndex(user, "@")
	if at < 0 {
		return nil, &denial{401, "user name has no @hub"}
	}
	name, hub := user[:at], user[at+1:]
	sasPart := strings.TrimPrefix(strings.ToLower(hub), "sas.")
	if policy, ok := strings.CutPrefix(sasPart, "root."); ok {
		if g.device != "" || s.policies[name] == nil || !strings.EqualFold(policy, s.shortName()) {
			return nil, &denial{401, "user name does not fit the token"}
		}
		return g, nil
	}
	a := deviceAddress(append([]string{"devices"}, append(pathSegments(name), "messages", "events")...))
	if !strings.EqualFold(sasPart, s.shortName()) || a.node != nodeTelemetry || !g.allows(a) {
		return nil, &denial{401, "user name does not fit the token"}
	}
	d := s.devices[a.identity()]
	if d == nil || s.disabledLocked(d) {
		return nil, &denial{401, "device is not registered or disabled"}
	}
	g.device = d.key()
	return g, nil
}
