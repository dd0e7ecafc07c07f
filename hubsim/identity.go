package hubsim

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

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
)

// policy is a named key for services, with its rights over the whole hub.
type policy struct {
	name   string
	keys   [2]sas.Key
	rights right
}

// device is one registered identity and what the hub holds for it.
type device struct {
	id         string
	generation string
	keys       [2]sas.Key // primary, secondary
	disabled   bool
	commands   *queue
	conn       *conn // the one connection that may have its links
}

// newKeys makes a primary and a secondary key, of 32 bytes as IoT Hub's are.
func newKeys() [2]sas.Key {
	var b [64]byte
	_, _ = rand.Read(b[:]) // never fails
	return [2]sas.Key{sas.NewKey(b[:32]), sas.NewKey(b[32:])}
}

func defaultPolicies() map[string]*policy {
	all := map[string]*policy{}
	for name, rights := range map[string]right{
		"iothubowner": deviceConnect | serviceConnect,
		"service":     serviceConnect,
		"device":      deviceConnect,
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

// AddDevice registers a device with new keys and returns its connection string, a secret.
func (s *Server) AddDevice(id string) (sas.ConnectionString, error) {
	if err := CheckDeviceID(id); err != nil {
		return sas.ConnectionString{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.devices[id] != nil {
		return sas.ConnectionString{}, fmt.Errorf("add device %q: %w", id, ErrDeviceExists)
	}
	d := &device{id: id, generation: generationID(s.opts.Now()), keys: newKeys()}
	s.addDeviceLocked(d)
	if err := s.saveLocked(); err != nil {
		delete(s.devices, id)
		return sas.ConnectionString{}, err
	}
	return s.deviceString(d), nil
}

// EnableDevice lets a device in again, DisableDevice keeps it out: its tokens are refused and its links are detached.
func (s *Server) EnableDevice(id string) error { return s.setDisabled(id, false) }

// DisableDevice refuses a device from now on, as "disabled" in the identity registry does, and detaches its links.
func (s *Server) DisableDevice(id string) error { return s.setDisabled(id, true) }

// RemoveDevice forgets a device with its queue, and detaches its links.
func (s *Server) RemoveDevice(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d == nil {
		return fmt.Errorf("remove device %q: %w", id, ErrUnknownDevice)
	}
	delete(s.devices, id)
	d.commands.close()
	s.cutDeviceLocked(id, condUnauthorized, "Device removed.")
	return s.saveLocked()
}

// Devices returns the registered device ids with their connection strings, secrets.
func (s *Server) Devices() map[string]sas.ConnectionString {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]sas.ConnectionString{}
	for id, d := range s.devices {
		all[id] = s.deviceString(d)
	}
	return all
}

// ServiceConnection returns the connection string of a policy ("service", "iothubowner", "device"), a secret.
func (s *Server) ServiceConnection(policy string) (sas.ConnectionString, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.policies[policy]
	if p == nil {
		return sas.ConnectionString{}, fmt.Errorf("policy %q does not exist; there are iothubowner, service and device", policy)
	}
	return s.serviceString(p), nil
}

func (s *Server) serviceString(p *policy) sas.ConnectionString {
	c := sas.ConnectionString{HostName: s.opts.Hostname, SharedAccessKeyName: p.name, Key: p.keys[0]}
	if port := s.oddPortLocked(); port != "" {
		c.HostName = net.JoinHostPort(s.opts.Hostname, port)
	}
	return c
}

func (s *Server) deviceString(d *device) sas.ConnectionString {
	c := sas.ConnectionString{HostName: s.opts.Hostname, DeviceID: d.id, Key: d.keys[0]}
	if port := s.oddPortLocked(); port != "" {
		c.GatewayHostName = net.JoinHostPort("localhost", port)
	}
	return c
}

func (s *Server) setDisabled(id string, disabled bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d == nil {
		return fmt.Errorf("device %q: %w", id, ErrUnknownDevice)
	}
	d.disabled = disabled
	if disabled {
		s.cutDeviceLocked(id, condUnauthorized, describe(403012, "Device is disabled.", s.opts.Now()))
	}
	return s.saveLocked()
}

// shortName is the hub's name as SASL PLAIN uses it: the host name up to the first dot.
func (s *Server) shortName() string {
	name, _, _ := strings.Cut(s.opts.Hostname, ".")
	return name
}

// entity is the name of the event hub that the hub's own telemetry endpoint redirects to.
func (s *Server) entity() string { return "iothub-ehub-" + s.shortName() }
