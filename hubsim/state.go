package hubsim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"iotagent/iothub/sas"
)

// savedState is the file state.json: identities and keys. It is a secret.
type savedState struct {
	Hostname string                 `json:"hostname"`
	CAKey    string                 `json:"ca_key"`
	Policies map[string][2]string   `json:"policies"`
	Devices  map[string]savedDevice `json:"devices"` // modules as "DEVICE/MODULE"
}

type savedDevice struct {
	Generation  string    `json:"generation"`
	ETag        string    `json:"etag"`
	Keys        [2]string `json:"keys"`
	Disabled    bool      `json:"disabled,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Edge        bool      `json:"edge,omitempty"`
	Auth        authType  `json:"auth"`
	Thumbprints [2]string `json:"thumbprints"`
}

// load reads the state directory, or makes authority and policies for the first time.
func (s *Server) load() error {
	s.policies = defaultPolicies()
	var err error
	if s.opts.StateDir == "" {
		s.ca, err = newAuthority(s.opts.Now())
		return err
	}
	if err := os.MkdirAll(filepath.Join(s.opts.StateDir, "devices"), 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	data, err := os.ReadFile(s.statePath("state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		s.ca, err = newAuthority(s.opts.Now())
		return err
	}
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return s.restore(data)
}

func (s *Server) restore(data []byte) error {
	path := s.statePath("state.json")
	var saved savedState
	if err := json.Unmarshal(data, &saved); err != nil {
		return fmt.Errorf("%s is damaged; move it away to start with new keys: %w", path, err)
	}
	cert, err := os.ReadFile(s.statePath("ca.pem"))
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if s.ca, err = parseAuthority(cert, []byte(saved.CAKey)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for name, texts := range saved.Policies {
		p := s.policies[name]
		if p == nil {
			continue // of another version
		}
		if p.keys, err = parseKeys(texts); err != nil {
			return fmt.Errorf("%s: policy %s: %w", path, name, err)
		}
	}
	for key, d := range saved.Devices {
		known, err := d.device(key)
		if err != nil {
			return fmt.Errorf("%s: device %s: %w", path, key, err)
		}
		s.addDeviceLocked(known)
	}
	return nil
}

func (d savedDevice) device(key string) (*device, error) {
	id, module, _ := strings.Cut(key, "/")
	known := &device{
		id: id, module: module, generation: d.Generation, etag: cmp.Or(d.ETag, newETag()), disabled: d.Disabled, reason: d.Reason,
		edge: d.Edge, auth: cmp.Or(d.Auth, authSAS), thumbprints: d.Thumbprints,
	}
	if known.auth != authSAS {
		return known, nil
	}
	var err error
	known.keys, err = parseKeys(d.Keys)
	return known, err
}

func (d *device) saved() savedDevice {
	return savedDevice{
		Generation: d.generation, ETag: d.etag, Disabled: d.disabled, Reason: d.reason, Edge: d.edge, Auth: d.auth,
		Thumbprints: d.thumbprints, Keys: [2]string{d.keys[0].Text(), d.keys[1].Text()},
	}
}

func parseKeys(texts [2]string) (keys [2]sas.Key, err error) {
	for i, text := range texts {
		if keys[i], err = sas.ParseKey(text); err != nil {
			return keys, err
		}
	}
	return keys, nil
}

// saveLocked writes the state directory anew; without one it does nothing.
func (s *Server) saveLocked() error {
	if s.opts.StateDir == "" {
		return nil
	}
	key, err := s.ca.keyPEM()
	if err != nil {
		return err
	}
	saved := savedState{
		Hostname: s.opts.Hostname, CAKey: string(key),
		Policies: map[string][2]string{}, Devices: map[string]savedDevice{},
	}
	files := map[string][]byte{"ca.pem": s.ca.certPEM()}
	for name, p := range s.policies {
		saved.Policies[name] = [2]string{p.keys[0].Text(), p.keys[1].Text()}
	}
	for id, d := range s.devices {
		saved.Devices[id] = d.saved()
		files[filepath.Join("devices", id+".connection-string")] = []byte(s.deviceString(d).Text() + "\n")
	}
	for name, file := range map[string]string{"service": "service.connection-string", "iothubowner": "owner.connection-string"} {
		files[file] = []byte(s.serviceString(s.policies[name]).Text() + "\n")
	}
	// ca.pem goes before state.json, which needs it at the next start.
	for name, data := range files {
		if s.written[name] == string(data) { // each write waits for the disk
			continue
		}
		if err := writeFile(s.statePath(name), data); err != nil {
			return err
		}
		s.written[name] = string(data)
	}
	text, err := json.MarshalIndent(saved, "", "  ")
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return writeFile(s.statePath("state.json"), append(text, '\n'))
}

func (s *Server) statePath(name string) string { return filepath.Join(s.opts.StateDir, name) }

// writeFile replaces a file in one step, readable by its owner only; it is on the disk when writeFile returns.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil { // of a device's modules
		return fmt.Errorf("state directory: %w", err)
	}
	f, err := os.CreateTemp(dir, ".hubsim-*")
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("state directory: %w", errors.Join(err, os.Remove(f.Name())))
	}
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return nil
}

// generationID looks like IoT Hub's: a number that tells two devices of one name apart.
func generationID(now time.Time) string {
	return fmt.Sprint(638_000_000_000_000_000 + now.UnixNano()/100%1_000_000_000_000_000)
}
