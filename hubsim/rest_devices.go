package hubsim

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"iotagent/iothub/sas"
)

// deviceJSON is a device or a module as the registry's REST API has it.
type deviceJSON struct {
	DeviceID                   string          `json:"deviceId"`
	ModuleID                   string          `json:"moduleId,omitempty"`
	GenerationID               string          `json:"generationId"`
	ETag                       string          `json:"etag"`
	ConnectionState            string          `json:"connectionState"`
	Status                     string          `json:"status,omitempty"`
	StatusReason               *string         `json:"statusReason"`
	ConnectionStateUpdatedTime string          `json:"connectionStateUpdatedTime"`
	StatusUpdatedTime          string          `json:"statusUpdatedTime"`
	LastActivityTime           string          `json:"lastActivityTime"`
	CloudToDeviceMessageCount  int             `json:"cloudToDeviceMessageCount"`
	Authentication             *authentication `json:"authentication"`
	Capabilities               *capabilities   `json:"capabilities,omitempty"`
}

type capabilities struct {
	IoTEdge bool `json:"iotEdge"`
}

type authentication struct {
	SymmetricKey   *symmetricKey   `json:"symmetricKey"`
	X509Thumbprint *x509Thumbprint `json:"x509Thumbprint"`
	Type           authType        `json:"type"`
}

type symmetricKey struct {
	PrimaryKey   *string `json:"primaryKey"`
	SecondaryKey *string `json:"secondaryKey"`
}

type x509Thumbprint struct {
	PrimaryThumbprint   *string `json:"primaryThumbprint"`
	SecondaryThumbprint *string `json:"secondaryThumbprint"`
}

// textOrNil is how the API says nothing: null.
func textOrNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (d *device) connectionState() string {
	if d.conn != nil {
		return "Connected"
	}
	return "Disconnected"
}

func (d *device) status() string {
	if d.disabled {
		return "disabled"
	}
	return "enabled"
}

func (d *device) restThumbprints() *x509Thumbprint {
	return &x509Thumbprint{textOrNil(d.thumbprints[0]), textOrNil(d.thumbprints[1])}
}

func (d *device) rest() *deviceJSON {
	r := &deviceJSON{
		DeviceID: d.id, ModuleID: d.module, GenerationID: d.generation, ETag: d.etag,
		ConnectionState: d.connectionState(), ConnectionStateUpdatedTime: restTime(d.connChanged),
		StatusUpdatedTime: restTime(d.statusChanged), LastActivityTime: restTime(d.lastActivity),
		CloudToDeviceMessageCount: len(d.commands.items),
		Authentication:            &authentication{SymmetricKey: &symmetricKey{}, X509Thumbprint: d.restThumbprints(), Type: d.auth},
	}
	if d.auth == authSAS {
		r.Authentication.SymmetricKey = &symmetricKey{ptr(d.keys[0].Text()), ptr(d.keys[1].Text())}
	}
	if d.module == "" {
		r.Status, r.StatusReason, r.Capabilities = d.status(), textOrNil(d.reason), &capabilities{d.edge}
	}
	return r
}

func (s *Server) getDevice(r *http.Request) (*answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[identityOf(r)]
	if d == nil {
		return nil, s.unknownLocked(identityOf(r))
	}
	return &answer{etag: d.etag, body: d.rest()}, nil
}

// sortedLocked returns the identities that are wanted, in the order of their names.
func (s *Server) sortedLocked(want func(*device) bool) []*deviceJSON {
	all := []*deviceJSON{}
	for _, key := range slices.Sorted(maps.Keys(s.devices)) {
		if d := s.devices[key]; want(d) {
			all = append(all, d.rest())
		}
	}
	return all
}

func (s *Server) listDevices(r *http.Request) (*answer, error) {
	top := 1000
	if text := r.URL.Query().Get("top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			return nil, badArgument("top: want a number from 1 to 1000.")
		}
		top = n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.sortedLocked(func(d *device) bool { return d.module == "" })
	return &answer{body: all[:min(top, len(all))]}, nil
}

func (s *Server) listModules(r *http.Request) (*answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PathValue("id")
	if s.devices[id] == nil {
		return nil, s.unknownLocked(id)
	}
	return &answer{body: s.sortedLocked(func(d *device) bool { return d.module != "" && d.id == id })}, nil
}

// putDevice creates an identity or, with an If-Match header, changes it.
func (s *Server) putDevice(r *http.Request) (*answer, error) {
	var in deviceJSON
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if in.DeviceID != r.PathValue("id") || in.ModuleID != r.PathValue("mid") {
		return nil, badArgument("The ids in the body are not those in the path.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := identityOf(r)
	d, change := s.devices[key], r.Header.Get("If-Match") != ""
	switch {
	case change && d == nil:
		return nil, s.unknownLocked(key)
	case change && !matches(r, d.etag):
		return nil, etagMismatch()
	case !change && d != nil && d.module != "":
		return nil, &failure{status: 409, code: 409301, name: "ModuleAlreadyExistsOnDevice", message: "The module is registered already.", cause: ErrDeviceExists}
	case !change && d != nil:
		return nil, &failure{status: 409, code: 409001, name: "DeviceAlreadyExists", message: "The device is registered already.", cause: ErrDeviceExists}
	case !change && in.ModuleID != "" && s.devices[in.DeviceID] == nil:
		return nil, s.unknownLocked(in.DeviceID)
	}
	d, err := s.applyLocked(d, &in)
	if err != nil {
		return nil, err
	}
	return &answer{etag: d.etag, body: d.rest()}, nil
}

// applyLocked makes an identity what the request says, a new one when d is nil.
func (s *Server) applyLocked(d *device, in *deviceJSON) (*device, error) {
	want := device{id: in.DeviceID, module: in.ModuleID}
	if err := want.readRest(in); err != nil {
		return nil, err
	}
	if d == nil {
		err := s.registerLocked(&want)
		return &want, err
	}
	if want.auth == authSAS && want.keys[0].IsZero() { // keys that are not given stay
		if want.keys = d.keys; d.auth != authSAS {
			want.keys = newKeys()
		}
	}
	if d.auth != want.auth || d.thumbprints != want.thumbprints { // connections that certificates opened
		s.cutDeviceLocked(d.key(), condUnauthorized, "The device's authentication was changed.")
	}
	d.auth, d.keys, d.thumbprints, d.edge, d.reason = want.auth, want.keys, want.thumbprints, want.edge, want.reason
	s.setDisabledLocked(d, want.disabled)
	d.etag = newETag()
	return d, s.saveLocked()
}

// readRest takes over what a client may set.
func (d *device) readRest(in *deviceJSON) error {
	for _, id := range []string{in.DeviceID, cmp.Or(in.ModuleID, "m")} {
		if err := CheckDeviceID(id); err != nil {
			return badArgument("%v", err)
		}
	}
	switch strings.ToLower(in.Status) {
	case "", "enabled":
	case "disabled":
		d.disabled = true
	default:
		return badArgument("status: want enabled or disabled.")
	}
	d.reason = deref(in.StatusReason)
	d.edge = in.Capabilities != nil && in.Capabilities.IoTEdge
	a := in.Authentication
	if a == nil {
		a = &authentication{}
	}
	return d.readAuthentication(a)
}

func (d *device) readAuthentication(a *authentication) (err error) {
	if t := a.X509Thumbprint; t != nil {
		d.thumbprints = [2]string{deref(t.PrimaryThumbprint), deref(t.SecondaryThumbprint)}
	}
	d.auth = a.Type
	if d.auth == "" {
		d.auth = authSAS
		if d.thumbprints != [2]string{} {
			d.auth = authSelfSigned
		}
	}
	switch d.auth {
	case authSAS:
		d.thumbprints = [2]string{}
		return d.readKeys(a.SymmetricKey)
	case authSelfSigned:
		d.thumbprints, err = cleanThumbprints(d.thumbprints[:]...)
		return err
	case authCA:
		d.thumbprints = [2]string{}
		return nil
	}
	return badArgument("authentication.type: want %s, %s or %s.", authSAS, authSelfSigned, authCA)
}

// readKeys takes both keys, or leaves them out: new ones are made then.
func (d *device) readKeys(k *symmetricKey) error {
	if k == nil || deref(k.PrimaryKey) == "" && deref(k.SecondaryKey) == "" {
		return nil
	}
	for i, text := range []*string{k.PrimaryKey, k.SecondaryKey} {
		var err error
		if d.keys[i], err = sas.ParseKey(deref(text)); err != nil {
			return badArgument("authentication.symmetricKey: want a primaryKey and a secondaryKey in base64.")
		}
		if n := len(d.keys[i].Text()); n < 24 || n > 88 { // in base64
			return badArgument("authentication.symmetricKey: want keys of 16 to 64 bytes.")
		}
	}
	return nil
}

func (s *Server) deleteDevice(r *http.Request) (*answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := identityOf(r)
	d := s.devices[key]
	if d == nil {
		return nil, s.unknownLocked(key)
	}
	if !matches(r, d.etag) {
		return nil, etagMismatch()
	}
	return &answer{status: http.StatusNoContent}, s.removeLocked(key)
}

// deleteCommands purges a device's queue.
func (s *Server) deleteCommands(r *http.Request) (*answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[r.PathValue("id")]
	if d == nil {
		return nil, s.unknownLocked(r.PathValue("id"))
	}
	return &answer{body: struct {
		Purged   int     `json:"totalMessagesPurged"`
		DeviceID string  `json:"deviceId"`
		ModuleID *string `json:"moduleId"`
	}{d.commands.purge(), d.id, nil}}, nil
}

func (s *Server) getStatistics(*http.Request) (*answer, error) {
	var n struct {
		Total    int `json:"totalDeviceCount"`
		Enabled  int `json:"enabledDeviceCount"`
		Disabled int `json:"disabledDeviceCount"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		switch {
		case d.module != "":
			continue
		case d.disabled:
			n.Disabled++
		default:
			n.Enabled++
		}
		n.Total++
	}
	return &answer{body: n}, nil
}

func (s *Server) getServiceStatistics(*http.Request) (*answer, error) {
	var n struct {
		Connected int `json:"connectedDeviceCount"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		if d.module == "" && d.conn != nil {
			n.Connected++
		}
	}
	return &answer{body: n}, nil
}
