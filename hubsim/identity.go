package hubsim

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"iotagent/iothub/sas"
)

// Errors of the identity registry, for errors.Is.
var (
	ErrUnknownDevice = errors.New("device is not registered")
	ErrDeviceExists  = errors.New("device is registered already")
	ErrQueueFull     = errors.New("device's command queue is full")
)

// right is what a policy or a device key allows.
type right uint8

const (
	deviceConnect  right = 1 << iota // act as a device
	serviceConnect                   // send commands, receive feedback and telemetry
	eventsListen                     // receive telemetry only: a key of the Event Hubs side
	registryRead                     // read identities
	registryWrite                    // and change them
)

// policy is a named key for services, with its rights over the whole hub.
type policy struct {
	name   string
	keys   [2]sas.Key
	rights right
}

// device is one registered identity, a device or a module of one, and what the hub holds for it.
type device struct {
	id         string
	module     string // "" for the device itself
	generation string
	keys       [2]sas.Key // primary, secondary
	disabled   bool
	commands   *queue
	twin       *twin
	conn       *conn          // the one connection that may have its links
	calls      []*pendingCall // methods that wait for credit
	model      string         // what the device says it is: a DTDL model id

	// What the registry tells about it besides.
	etag          string
	reason        string // why it is disabled, in its administrator's words
	edge          bool
	auth          authType
	thumbprints   [2]string // of client certificates, for authSelfSigned; upper case
	connChanged   time.Time
	statusChanged time.Time
	lastActivity  time.Time
	metered       meter
}

// authType is how an identity proves itself, in the registry's words.
type authType string

const (
	authSAS        authType = "sas"
	authSelfSigned authType = "selfSigned"
	authCA         authType = "certificateAuthority"
)

// key is the identity's name within the hub: "pi-17" or, for a module, "pi-17/edge1". No id has a slash in it.
func (d *device) key() string { return identityKey(d.id, d.module) }

// path is the part of link addresses that names the identity.
func (d *device) path() string {
	if d.module == "" {
		return "/devices/" + d.id
	}
	return "/devices/" + d.id + "/modules/" + d.module
}

func identityKey(device, module string) string {
	if module == "" {
		return device
	}
	return device + "/" + module
}

// identityIn returns the key of the identity that a decoded path is about, "" for none.
func identityIn(segs []string) string {
	if len(segs) < 2 || !strings.EqualFold(segs[0], "devices") {
		return ""
	}
	device, module := segs[1], ""
	if len(segs) >= 4 && strings.EqualFold(segs[2], "modules") {
		module = segs[3]
	}
	if strings.Contains(device+module, "/") {
		return ""
	}
	return identityKey(device, module)
}

// within reports whether an identity is the one named, or a module of it.
func within(key, of string) bool { return key == of || strings.HasPrefix(key, of+"/") }

// disabledLocked reports whether an identity is kept out; a module is with its device.
func (s *Server) disabledLocked(d *device) bool {
	if d.module != "" {
		d = s.devices[d.id]
	}
	return d == nil || d.disabled
}

// newKeys makes a primary and a secondary key, of 32 bytes as IoT Hub's are.
func newKeys() [2]sas.Key {
	var b [64]byte
	_, _ = rand.Read(b[:]) // never fails
	return [2]sas.Key{sas.NewKey(b[:32]), sas.NewKey(b[32:])}
}

// newETag looks like the registry's: a number in base64, another one after each change.
func newETag() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%09d", binary.BigEndian.Uint32(b[:])%1_000_000_000))
}

func defaultPolicies() map[string]*policy {
	all := map[string]*policy{}
	for name, rights := range map[string]right{
		"iothubowner":       deviceConnect | serviceConnect | registryRead | registryWrite,
		"service":           serviceConnect,
		"device":            deviceConnect,
		"registryRead":      registryRead,
		"registryReadWrite": registryRead | registryWrite,
	} {
		all[name] = &policy{name: name, keys: newKeys(), rights: rights}
	}
	return all
}

// CheckDeviceID says what is wrong with a device id, by the rule of "Understand the identity registry in your IoT hub".
func CheckDeviceID(id string) error {
	ok := regexp.MustCompile(`^[A-Za-z0-9\-.%_*?!(),:=@$']{1,128}$`).MatchString(id)
	if !ok || id == "." || id == ".." {
		return fmt.Errorf("device id %q: want 1 to 128 letters, digits or any of - . %% _ * ? ! ( ) , : = @ $ '", id)
	}
	return nil
}

// shortName is the hub's name as SASL PLAIN uses it: the host name up to the first dot.
func (s *Server) shortName() string {
	name, _, _ := strings.Cut(s.opts.Hostname, ".")
	return name
}

// entity is the name of the event hub that the hub's own telemetry endpoint redirects to.
func (s *Server) entity() string { return "iothub-ehub-" + s.shortName() }
