package hubsim

import (
	"testing"
	"time"

	"iotagent/iothub/sas"
)

// Both keys of a device and of a policy open the same doors, so that one can be replaced while the other serves.
func TestEitherKeySigns(t *testing.T) {
	s, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.AddDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	expires := time.Now().Add(time.Hour)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, b := s.devices["pi-17"].keys[0], s.devices["pi-17"].keys[1]; a.Equal(b) {
		t.Fatal("primary and secondary key are the same")
	}
	for i, name := range []string{"primary", "secondary"} {
		if _, denied := s.authorizeLocked(s.devices["pi-17"].keys[i].Token(sas.Resource("localhost", "pi-17", ""), expires, "")); denied != nil {
			t.Errorf("the device's %s key: %v", name, denied)
		}
		if _, denied := s.authorizeLocked(s.policies["service"].keys[i].Token("localhost", expires, "service")); denied != nil {
			t.Errorf("the policy's %s key: %v", name, denied)
		}
	}
}
