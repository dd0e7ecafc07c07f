package hubsim

import (
	"strings"
	"testing"
	"time"

	"iotagent/iothub/sas"
)

// newHub returns a hub with one device, "pi-17", and closes it with the test.
func newHub(t *testing.T, o *Options) (*Server, sas.ConnectionString) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	device, err := s.AddDevice("pi-17")
	if err != nil {
		t.Fatal(err)
	}
	return s, device
}

func policyKey(t *testing.T, s *Server, name string) sas.Key {
	t.Helper()
	c, err := s.ServiceConnection(name)
	if err != nil {
		t.Fatal(err)
	}
	return c.Key
}

func TestAuthorize(t *testing.T) {
	const host = "myhub.azure-devices.net"
	s, device := newHub(t, &Options{Hostname: host})
	if _, err := s.AddDevice("off"); err != nil {
		t.Fatal(err)
	}
	if err := s.DisableDevice("off"); err != nil {
		t.Fatal(err)
	}
	service, owner, asDevice := policyKey(t, s, "service"), policyKey(t, s, "iothubowner"), policyKey(t, s, "device")
	raw := sas.NewKey([]byte(service.Text()))
	own := sas.Resource(host, "pi-17", "")
	soon := time.Now().Add(time.Hour)
	telemetry := address{node: nodeTelemetry, device: "pi-17"}
	other := address{node: nodeTelemetry, device: "pi-18"}
	send, events := address{node: nodeSend}, address{node: nodeEvents}
	for name, tc := range map[string]struct {
		token  string
		status int32 // 0: taken
		text   string
		opens  []address
		shuts  []address
	}{
		"device":            {token: device.Key.Token(own, soon, ""), opens: []address{telemetry}, shuts: []address{other, send, events}},
		"device, scheme":    {token: device.Key.Token("amqps://"+own, soon, ""), opens: []address{telemetry}},
		"device, port":      {token: device.Key.Token(host+":8443/devices/pi-17", soon, ""), opens: []address{telemetry}},
		"device, host case": {token: device.Key.Token(strings.ToUpper(host)+"/devices/pi-17", soon, ""), opens: []address{telemetry}},
		"unencoded sr":      {token: strings.NewReplacer("%2F", "/").Replace(device.Key.Token(own, soon, "")), status: 401, text: "invalid signature"},
		"service":           {token: service.Token(host, soon, "service"), opens: []address{send, events}, shuts: []address{telemetry}},
		"owner":             {token: owner.Token(host, soon, "iothubowner"), opens: []address{send, events, telemetry, other}},
		"device policy":     {token: asDevice.Token(host+"/devices", soon, "device"), opens: []address{telemetry, other}, shuts: []address{send, events}},
		"policy, one":       {token: asDevice.Token(own, soon, "device"), opens: []address{telemetry}, shuts: []address{other}},
		"events key text":   {token: raw.Token("sb://"+host+"/iothub-ehub-myhub", soon, "service"), opens: []address{events}, shuts: []address{send, telemetry}},
		"wrong key":         {token: service.Token(own, soon, ""), status: 401, text: "invalid signature"},
		"wrong policy key":  {token: service.Token(host, soon, "iothubowner"), status: 401, text: "invalid signature"},
		"no such policy":    {token: service.Token(host, soon, "registry"), status: 401, text: "does not exist"},
		"unknown device":    {token: device.Key.Token(host+"/devices/pi-18", soon, ""), status: 401, text: "Device pi-18 at IotHub myhub not registered."},
		"disabled":          {token: device.Key.Token(host+"/devices/off", soon, ""), status: 401, text: "disabled"},
		"expired":           {token: device.Key.Token(own, time.Now().Add(-time.Second), ""), status: 401, text: "The specified SAS token is expired"},
		"another hub":       {token: device.Key.Token("other.azure-devices.net/devices/pi-17", soon, ""), status: 404},
		"not a token":       {token: "Bearer x", status: 400},
		"no identity":       {token: device.Key.Token(host, soon, ""), status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			s.mu.Lock()
			g, denied := s.authorizeLocked(tc.token)
			s.mu.Unlock()
			switch {
			case tc.status == 0 && denied != nil:
				t.Fatalf("refused: %d %s", denied.status, denied.text)
			case tc.status != 0 && denied == nil:
				t.Fatal("taken")
			case tc.status != 0:
				if denied.status != tc.status || !strings.Contains(denied.text, tc.text) {
					t.Errorf("got %d %q, want %d with %q", denied.status, denied.text, tc.status, tc.text)
				}
				return
			}
			for _, a := range tc.opens {
				if !g.allows(a) {
					t.Errorf("does not open %+v", a)
				}
			}
			for _, a := range tc.shuts {
				if g.allows(a) {
					t.Errorf("opens %+v", a)
				}
			}
		})
	}
}

func TestPlainIdentities(t *testing.T) {
	const host = "myhub.azure-devices.net"
	s, device := newHub(t, &Options{Hostname: host})
	soon := time.Now().Add(time.Hour)
	deviceToken := device.Key.Token(sas.Resource(host, "pi-17", ""), soon, "")
	service := policyKey(t, s, "service")
	serviceToken := service.Token(host, soon, "service")
	for _, tc := range []struct {
		user, password string
		ok             bool
	}{
		{"pi-17@sas.myhub", deviceToken, true},
		{"pi%2D17@sas.MYHUB", deviceToken, true},
		{"pi-17@sas.myhub.azure-devices.net", deviceToken, false},
		{"pi-17@sas.other", deviceToken, false},
		{"pi-18@sas.myhub", deviceToken, false},
		{"pi-17@sas.myhub", serviceToken, false},
		{"pi-17", deviceToken, false},
		{"service@sas.root.myhub", serviceToken, true},
		{"service@sas.root.other", serviceToken, false},
		{"service@sas.root.myhub", deviceToken, false},
		{"service", service.Text(), true},
		{"device", policyKey(t, s, "device").Text(), false},
		{"service", "x", false},
	} {
		s.mu.Lock()
		_, err := s.plainLocked(tc.user, tc.password)
		s.mu.Unlock()
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v, want ok %v", tc.user, err, tc.ok)
		}
	}
}
