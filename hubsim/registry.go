package hubsim

import (
	"fmt"
	"maps"
	"net"

	"iotagent/iothub/sas"
)

// AddDevice registers a device with new keys and returns its connection string, a secret.
func (s *Server) AddDevice(id string) (sas.ConnectionString, error) {
	return s.register(&device{id: id})
}

// AddModule registers a module of a registered device, with new keys, and returns its connection string, a secret.
func (s *Server) AddModule(deviceID, module string) (sas.ConnectionString, error) {
	if err := CheckDeviceID(module); err != nil {
		return sas.ConnectionString{}, fmt.Errorf("module: %w", err)
	}
	return s.register(&device{id: deviceID, module: module})
}

func (s *Server) register(d *device) (sas.ConnectionString, error) {
	if err := CheckDeviceID(d.id); err != nil {
		return sas.ConnectionString{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.registerLocked(d); err != nil {
		return sas.ConnectionString{}, fmt.Errorf("add %q: %w", d.key(), err)
	}
	return s.deviceString(d), nil
}

// registerLocked makes an identity known and keeps it.
func (s *Server) registerLocked(d *device) error {
	switch {
	case s.devices[d.key()] != nil:
		return ErrDeviceExists
	case d.module != "" && s.devices[d.id] == nil:
		return ErrUnknownDevice
	}
	d.generation, d.etag = generationID(s.opts.Now()), newETag()
	if d.auth == "" {
		d.auth = authSAS
	}
	if d.auth == authSAS && d.keys[0].IsZero() {
		d.keys = newKeys()
	}
	s.addDeviceLocked(d)
	if err := s.saveLocked(); err != nil {
		delete(s.devices, d.key())
		return err
	}
	return nil
}

// EnableDevice lets a device in again, DisableDevice keeps it out: its tokens are refused and its links are detached.
func (s *Server) EnableDevice(id string) error { return s.setDisabled(id, false) }

// DisableDevice refuses a device from now on, as "disabled" in the identity registry does, and detaches its links.
func (s *Server) DisableDevice(id string) error { return s.setDisabled(id, true) }

// RemoveDevice forgets a device with its modules and queues, or a module as "DEVICE/MODULE", and detaches the links.
func (s *Server) RemoveDevice(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.devices[id] == nil {
		return fmt.Errorf("remove device %q: %w", id, ErrUnknownDevice)
	}
	return s.removeLocked(id)
}

func (s *Server) removeLocked(id string) error {
	maps.DeleteFunc(s.devices, func(key string, d *device) bool {
		if !within(key, id) {
			return false
		}
		d.commands.close()
		return true
	})
	s.cutDeviceLocked(id, condUnauthorized, "Device removed.")
	return s.saveLocked()
}

// Devices returns the registered identities, modules as "DEVICE/MODULE", with their connection strings, secrets.
func (s *Server) Devices() map[string]sas.ConnectionString {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]sas.ConnectionString{}
	for id, d := range s.devices {
		all[id] = s.deviceString(d)
	}
	return all
}

// ServiceConnection returns the connection string of a policy ("service", "iothubowner", "device", "registryRead", "registryReadWrite"), a secret.
func (s *Server) ServiceConnection(policy string) (sas.ConnectionString, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.policies[policy]
	if p == nil {
		return sas.ConnectionString{}, fmt.Errorf("policy %q does not exist; there are iothubowner, service, device, registryRead and registryReadWrite", policy)
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
	c := sas.ConnectionString{HostName: s.opts.Hostname, DeviceID: d.id, ModuleID: d.module, Key: d.keys[0], X509: d.auth != authSAS}
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
	s.setDisabledLocked(d, disabled)
	return s.saveLocked()
}

func (s *Server) setDisabledLocked(d *device, disabled bool) {
	if d.disabled == disabled {
		return
	}
	d.disabled, d.statusChanged, d.etag = disabled, s.opts.Now(), newETag()
	if disabled {
		s.cutDeviceLocked(d.key(), condUnauthorized, describe(403012, "Device is disabled.", s.opts.Now()))
	}
}
