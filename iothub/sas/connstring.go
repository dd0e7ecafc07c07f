package sas

import (
	"errors"
	"fmt"
	"strings"
)

// ConnectionString is one line that says where to connect, as whom, and with what secret. It prints without its secrets.
type ConnectionString struct {
	// HostName is the hub's, with an optional port; GatewayHostName, with an optional port too, is dialled in its place.
	HostName, GatewayHostName string
	// DeviceID and ModuleID are set for devices and modules.
	DeviceID, ModuleID string
	// SharedAccessKeyName is the key's policy, "" for a device's own key.
	SharedAccessKeyName string
	// Key signs tokens; Token is a complete signature in its place (SharedAccessSignature).
	Key   Key
	Token string
	// X509 says that the device shows a certificate instead.
	X509 bool
	// Endpoint ("sb://…/") and EntityPath are the form of Event Hubs, which has no HostName.
	Endpoint, EntityPath string
}

// ParseConnectionString reads a connection string of a device, a module, a service or an event hub. A byte order mark, line ends and space around
// any part are ignored. Its errors name parts by their number, because a mangled string may have its secret anywhere.
func ParseConnectionString(s string) (ConnectionString, error) {
	var c ConnectionString
	seen := map[string]bool{}
	for i, part := range strings.Split(trim(s), ";") {
		part = trim(part)
		if part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return ConnectionString{}, fmt.Errorf("connection string: part %d has no \"=\"; parts look like HostName=…;DeviceId=…;SharedAccessKey=…", i+1)
		}
		name, value = strings.ToLower(trim(name)), trim(value)
		label, known := labels(name)
		switch {
		case !known:
			return ConnectionString{}, fmt.Errorf("connection string: part %d has an unknown key; known are %s", i+1, knownKeys)
		case seen[name]:
			return ConnectionString{}, fmt.Errorf("connection string: %s stands in it twice", label)
		case value == "":
			return ConnectionString{}, fmt.Errorf("connection string: %s is empty", label)
		}
		seen[name] = true
		if err := c.set(name, value); err != nil {
			return ConnectionString{}, fmt.Errorf("connection string: %w", err)
		}
	}
	if err := c.check(); err != nil {
		return ConnectionString{}, fmt.Errorf("connection string: %w", err)
	}
	return c, nil
}

const knownKeys = "HostName, DeviceId, ModuleId, SharedAccessKey, SharedAccessKeyName, SharedAccessSignature, GatewayHostName, x509, Endpoint, EntityPath"

// labels returns the usual spelling of a lower-case key.
func labels(name string) (string, bool) {
	for label := range strings.SplitSeq(knownKeys, ", ") {
		if strings.ToLower(label) == name {
			return label, true
		}
	}
	return "", false
}

func (c *ConnectionString) set(name, value string) (err error) {
	switch name {
	case "hostname":
		c.HostName, err = value, checkHost("HostName", value)
	case "gatewayhostname":
		c.GatewayHostName, err = value, checkHost("GatewayHostName", value)
	case "deviceid":
		c.DeviceID = value
	case "moduleid":
		c.ModuleID = value
	case "sharedaccesskeyname":
		c.SharedAccessKeyName = value
	case "sharedaccesskey":
		c.Key, err = ParseKey(value)
	case "sharedaccesssignature":
		c.Token = value
		_, err = ParseToken(value)
	case "x509":
		if c.X509 = strings.EqualFold(value, "true"); !c.X509 && !strings.EqualFold(value, "false") {
			err = errors.New("x509 must be true or false")
		}
	case "endpoint":
		c.Endpoint = value
	case "entitypath":
		c.EntityPath = value
	}
	return err
}

func checkHost(label, value string) error {
	if strings.ContainsAny(value, "/\\@ =&") {
		return fmt.Errorf("%s must be a bare name such as myhub.azure-devices.net, without a scheme or a path", label)
	}
	return nil
}

func (c *ConnectionString) check() error {
	var secrets int
	for _, present := range []bool{!c.Key.IsZero(), c.Token != "", c.X509} {
		if present {
			secrets++
		}
	}
	switch {
	case c.HostName == "" && c.Endpoint == "":
		return errors.New("HostName is missing")
	case c.HostName != "" && c.Endpoint != "":
		return errors.New("HostName and Endpoint exclude each other")
	case secrets == 0:
		return errors.New("SharedAccessKey is missing (or SharedAccessSignature, or x509=true)")
	case secrets > 1:
		return errors.New("SharedAccessKey, SharedAccessSignature and x509=true exclude each other")
	case c.ModuleID != "" && c.DeviceID == "":
		return errors.New("DeviceId is missing beside ModuleId")
	case c.DeviceID == "" && c.X509:
		return errors.New("DeviceId is missing beside x509")
	case c.DeviceID == "" && c.SharedAccessKeyName == "" && c.Token == "":
		return errors.New("DeviceId is missing (or SharedAccessKeyName, for a service)")
	}
	return nil
}

// String returns the connection string with its secrets hidden.
func (c ConnectionString) String() string { return c.text("…", "…") }

// GoString hides the secrets from %#v.
func (c ConnectionString) GoString() string { return "sas.ConnectionString{" + c.String() + "}" }

// Text returns the whole connection string, secrets and all, as ParseConnectionString reads it.
func (c ConnectionString) Text() string { return c.text(c.Key.Text(), c.Token) }

func (c ConnectionString) text(key, token string) string {
	if c.Key.IsZero() {
		key = ""
	}
	if c.Token == "" {
		token = ""
	}
	var b strings.Builder
	add := func(name, value string) {
		if value == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteByte(';')
		}
		b.WriteString(name + "=" + value)
	}
	add("Endpoint", c.Endpoint)
	add("HostName", c.HostName)
	add("DeviceId", c.DeviceID)
	add("ModuleId", c.ModuleID)
	add("SharedAccessKeyName", c.SharedAccessKeyName)
	add("SharedAccessKey", key)
	add("SharedAccessSignature", token)
	if c.X509 {
		add("x509", "true")
	}
	add("GatewayHostName", c.GatewayHostName)
	add("EntityPath", c.EntityPath)
	return b.String()
}
