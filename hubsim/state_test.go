package hubsim

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/iothub/sas"
)

func readString(t *testing.T, path string) sas.ConnectionString {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := sas.ParseConnectionString(string(data))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return c
}

func TestStateSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	o := &Options{StateDir: dir, Hostname: "hub.test"}
	first, device := newHub(t, o)
	if err := first.DisableDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	second, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.AddDevice("pi-17"); !errors.Is(err, ErrDeviceExists) {
		t.Errorf("adding it again: %v, want ErrDeviceExists", err)
	}
	if got := second.Devices()["pi-17"]; !got.Key.Equal(device.Key) {
		t.Error("the device has another key")
	}
	if !second.devices["pi-17"].disabled {
		t.Error("the device is enabled again")
	}
	for _, policy := range []string{"service", "iothubowner", "device"} {
		if !policyKey(t, first, policy).Equal(policyKey(t, second, policy)) {
			t.Errorf("policy %s has another key", policy)
		}
	}
	if !first.CertPool().Equal(second.CertPool()) {
		t.Error("the authority is another")
	}
}

func TestStateFiles(t *testing.T) {
	dir := t.TempDir()
	s, _ := newHub(t, &Options{StateDir: dir, Hostname: "hub.test"})
	usual := readString(t, filepath.Join(dir, "devices", "pi-17.connection-string"))
	if usual.HostName != "hub.test" || usual.GatewayHostName != "" || usual.DeviceID != "pi-17" {
		t.Errorf("on the usual port: %v", usual)
	}
	l, err := s.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	device := readString(t, filepath.Join(dir, "devices", "pi-17.connection-string"))
	service := readString(t, filepath.Join(dir, "service.connection-string"))
	owner := readString(t, filepath.Join(dir, "owner.connection-string"))
	got := []string{device.HostName, device.GatewayHostName, service.HostName, service.SharedAccessKeyName, owner.SharedAccessKeyName}
	want := []string{"hub.test", "localhost:" + port, "hub.test:" + port, "service", "iothubowner"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("on port %s (-want +got):\n%s", port, diff)
	}
	var files []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		rel, err := filepath.Rel(dir, path)
		files = append(files, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	if diff := cmp.Diff([]string{"ca.pem", "devices/pi-17.connection-string", "owner.connection-string", "service.connection-string", "state.json"}, files); diff != "" {
		t.Error(diff)
	}
}

func TestDamagedStateIsAnErrorThatSaysWhere(t *testing.T) {
	for _, text := range []string{"{", `{"ca_key":"x"}`, ""} {
		dir := t.TempDir()
		if _, err := New(&Options{StateDir: dir}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "state.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(&Options{StateDir: dir}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want an error that names %s", text, err, path)
		}
	}
}

func TestCertificateNames(t *testing.T) {
	s, _ := newHub(t, &Options{Hostname: "hub.test"})
	config, err := s.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hub.test", "localhost", "127.0.0.1", "::1"} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: s.CertPool(), DNSName: name, CurrentTime: time.Now().Add(-23 * time.Hour)})
		if err != nil {
			t.Errorf("%s, with a clock 23 hours behind: %v", name, err)
		}
	}
	if config.MinVersion < tls.VersionTLS12 {
		t.Error("old TLS versions are allowed")
	}
}
