package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const deviceString = "HostName=h.example;DeviceId=pi;SharedAccessKey=c2VjcmV0"

// place is a configuration with files beside it.
type placeFiles struct {
	dir, creds string
	opts       *Options
}

func newPlace(t *testing.T) placeFiles {
	t.Helper()
	p := placeFiles{dir: t.TempDir(), creds: t.TempDir()}
	p.opts = &Options{Getenv: func(name string) string {
		if name == "CREDENTIALS_DIRECTORY" {
			return p.creds
		}
		return ""
	}}
	return p
}

func write(t *testing.T, mode os.FileMode, text string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // past the umask
		t.Fatal(err)
	}
}

// credentials loads a [hub] with these lines and reads what it names; errors come without the directories' names.
func (p placeFiles) credentials(t *testing.T, hub string) (Credentials, string) {
	t.Helper()
	path := filepath.Join(p.dir, "iotagent.toml")
	if _, err := os.Stat(path); err != nil {
		write(t, 0o640, "", path)
	}
	write(t, 0o640, "[hub]\n"+hub, path)
	f, err := Load(path, p.opts)
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Hub.Credentials(p.opts)
	if err == nil {
		return c, ""
	}
	if strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("a secret shows: %v", err)
	}
	return c, strings.NewReplacer(p.dir, "DIR", p.creds, "CREDS").Replace(err.Error())
}

func TestCredentialsFromConnectionString(t *testing.T) {
	const file = `connection_string_file = "cs"` + "\n"
	for _, tc := range []struct {
		name, text, hub string
		want            Credentials
	}{
		{"plain", deviceString, file, Credentials{Host: "h.example", DeviceID: "pi", Auth: AuthSAS}},
		{"windows", "\ufeff" + deviceString + "\r\n", file, Credentials{Host: "h.example", DeviceID: "pi", Auth: AuthSAS}},
		{"module", deviceString + ";ModuleId=m\n", file + `auth = "sas-plain"`, Credentials{Host: "h.example", DeviceID: "pi", ModuleID: "m", Auth: AuthSASPlain}},
		{"gateway", deviceString + ";GatewayHostName=gw:8883", file, Credentials{Host: "h.example", Gateway: "gw:8883", DeviceID: "pi", Auth: AuthSAS}},
		{"gateway and port", deviceString + ";GatewayHostName=gw:8883", file + "port = 443\n", Credentials{Host: "h.example", Gateway: "gw", Port: 443, DeviceID: "pi", Auth: AuthSAS}},
		{"host with port", "HostName=h.example:5555;DeviceId=pi;SharedAccessKey=c2VjcmV0", file, Credentials{Host: "h.example", Port: 5555, DeviceID: "pi", Auth: AuthSAS}},
		{"port beats it", "HostName=h.example:5555;DeviceId=pi;SharedAccessKey=c2VjcmV0", file + "port = 443\n", Credentials{Host: "h.example", Port: 443, DeviceID: "pi", Auth: AuthSAS}},
		{"inline", "", `connection_string = "` + deviceString + `"`, Credentials{Host: "h.example", DeviceID: "pi", Auth: AuthSAS}},
		{"key", "c2VjcmV0\n", "host = \"h.example\"\ndevice_id = \"pi\"\nkey_file = \"cs\"\nport = 9\n", Credentials{Host: "h.example", Port: 9, DeviceID: "pi", Auth: AuthSAS}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			write(t, 0o600, tc.text, p.dir, "cs")
			got, msg := p.credentials(t, tc.hub)
			if msg != "" {
				t.Fatal(msg)
			}
			if got.Key.Text() != "c2VjcmV0" {
				t.Errorf("got key %q", got.Key.Text())
			}
			got.Key = tc.want.Key
			if got != tc.want {
				t.Errorf("got %+v\nwant %+v", fields(got), fields(tc.want))
			}
		})
	}
}

// fields shows what String leaves out.
func fields(c Credentials) string { return fmt.Sprint(c, c.Gateway, c.Port, c.Auth, c.CAFile) }

func TestCredentialsDirectory(t *testing.T) {
	p := newPlace(t)
	write(t, 0o600, "HostName=beside;DeviceId=pi;SharedAccessKey=c2VjcmV0", p.dir, "cs")
	hub := `connection_string_file = "cs"`
	if c, msg := p.credentials(t, hub); c.Host != "beside" {
		t.Errorf("beside the file: got %v, %s", c, msg)
	}
	// systemd's own modes are not ours to judge.
	write(t, 0o444, deviceString, p.creds, "cs")
	if c, msg := p.credentials(t, hub); c.Host != "h.example" {
		t.Errorf("in the credentials directory: got %v, %s", c, msg)
	}
	if c, msg := p.credentials(t, `connection_string_file = "`+p.creds+`/cs"`); c.Host != "h.example" {
		t.Errorf("named in full: got %v, %s", c, msg)
	}
	// A way out of the directory is no way around the rule.
	write(t, 0o644, deviceString, p.dir, "open")
	if _, msg := p.credentials(t, `connection_string_file = "`+p.creds+`/../`+filepath.Base(p.dir)+`/open"`); !strings.Contains(msg, "mode 0644") {
		t.Errorf("got %q", msg)
	}
}

func TestCredentialsErrors(t *testing.T) {
	const file = `connection_string_file = "cs"` + "\n"
	const at = "DIR/iotagent.toml:2:26: hub.connection_string_file: "
	const hosted = "host = \"h\"\ndevice_id = \"d\"\n"
	for _, tc := range []struct {
		name string
		mode os.FileMode
		text string
		hub  string
		want string
	}{
		{"absent", 0, "", `connection_string_file = "other"`, at + "no such file: CREDS/other, nor DIR/other"},
		{"absent in full", 0, "", `connection_string_file = "/nowhere/cs"`, at + "no such file: /nowhere/cs"},
		{"directory", 0, "", `connection_string_file = "../` + "x/" + `.."`, ""},
		{"empty", 0o600, " \r\n", file, at + "DIR/cs: is empty"},
		{"nul", 0o600, "\x00\x00", file, at + "DIR/cs: is empty"},
		{"world", 0o644, deviceString, file, at + "DIR/cs: holds a secret, but its mode 0644 lets others at it; want 0640 or 0600: chmod 0640 DIR/cs && chown root:iotagent DIR/cs"},
		{"group writes", 0o660, deviceString, file, at + "DIR/cs: holds a secret, but its mode 0660 lets others at it; want 0640 or 0600: chmod 0640 DIR/cs && chown root:iotagent DIR/cs"},
		{"world writes", 0o602, deviceString, file, at + "DIR/cs: holds a secret, but its mode 0602 lets others at it; want 0640 or 0600: chmod 0640 DIR/cs && chown root:iotagent DIR/cs"},
		{"service", 0o600, "HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0", file, at + "is not a device's connection string but a service's (it has no DeviceId); take the one shown with the device"},
		{"nonsense", 0o600, "c2VjcmV0", file, at + `connection string: part 1 has no "="; parts look like HostName=…;DeviceId=…;SharedAccessKey=…`},
		{"key is a string", 0o600, deviceString, hosted + `key_file = "cs"`, "DIR/iotagent.toml:4:12: hub.key_file: the file holds a connection string, not a key; name it under connection_string_file, without host, device_id and key_file"},
		{"bad key", 0o640, "c2VjcmV0!", hosted + `key_file = "cs"`, "DIR/iotagent.toml:4:12: hub.key_file: shared access key is not base64: copy it again, whole, from the portal"},
		{"x509 string", 0o640, "HostName=h;DeviceId=d;x509=true", file, at + "the connection string says x509=true: want cert_file and private_key_file too"},
		{"x509 string, sas", 0o640, "HostName=h;DeviceId=d;x509=true", file + `auth = "sas"`, at + `the connection string says x509=true, but auth is "sas"`},
		{"bad port", 0o640, "HostName=h:x;DeviceId=d;SharedAccessKey=c2VjcmV0", file, at + "a port in the connection string is not a number from 1 to 65535"},
		{"no ca", 0o640, deviceString, file + `ca_file = "cs"`, "DIR/iotagent.toml:3:11: hub.ca_file: DIR/cs: holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			if tc.mode != 0 {
				write(t, tc.mode, tc.text, p.dir, "cs")
			}
			_, got := p.credentials(t, tc.hub)
			if tc.want == "" {
				if !strings.HasSuffix(got, ": is not a file") && !strings.Contains(got, "no such file") {
					t.Errorf("got %s", got)
				}
				return
			}
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestCredentialsPipe(t *testing.T) {
	p := newPlace(t)
	if err := syscall.Mkfifo(filepath.Join(p.dir, "cs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, got := p.credentials(t, `connection_string_file = "cs"`); !strings.HasSuffix(got, "DIR/cs: is not a file") {
		t.Errorf("got %s", got)
	}
}

func TestConfigurationFileWithSecret(t *testing.T) {
	p := newPlace(t)
	path := filepath.Join(p.dir, "iotagent.toml")
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o640: "",
		0o644: path + ":2:21: hub.connection_string: " + path + ": holds a secret, but its mode 0644 lets others at it; want 0640 or 0600: chmod 0640 " + path + " && chown root:iotagent " + path,
	} {
		write(t, mode, "[hub]\nconnection_string = \""+deviceString+"\"\n", path)
		f, err := Load(path, p.opts)
		if err != nil {
			t.Fatalf("%o: loading must not mind: %v", mode, err)
		}
		_, err = f.Hub.Credentials(p.opts)
		if got := fmt.Sprint(err); got != want && (err != nil || want != "") {
			t.Errorf("%o: got  %s\nwant %s", mode, got, want)
		}
	}
}

func TestMendQuotes(t *testing.T) {
	if got, want := mend("/a b/it's"), `chmod 0640 '/a b/it'\''s' && chown root:iotagent '/a b/it'\''s'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCredentialsX509(t *testing.T) {
	p := newPlace(t)
	cert, key := selfSigned(t)
	write(t, 0o644, cert, p.dir, "c.pem")
	write(t, 0o600, key, p.dir, "k.pem")
	const hub = "host = \"h\"\ndevice_id = \"d\"\nauth = \"x509\"\ncert_file = \"c.pem\"\nprivate_key_file = \"k.pem\"\nca_file = \"c.pem\"\n"
	c, msg := p.credentials(t, hub)
	if msg != "" {
		t.Fatal(msg)
	}
	want := []string{filepath.Join(p.dir, "c.pem"), filepath.Join(p.dir, "c.pem"), filepath.Join(p.dir, "k.pem")}
	if diff := cmp.Diff(want, []string{c.CAFile, c.CertFile, c.PrivateKeyFile}); diff != "" {
		t.Error(diff)
	}
	if c.Auth != AuthX509 || c.TLS == nil || c.TLS.RootCAs == nil || c.Certificate == nil {
		t.Errorf("got auth %q, TLS %v, certificate %v", c.Auth, c.TLS != nil, c.Certificate != nil)
	}
	write(t, 0o600, "HostName=h;DeviceId=d;x509=true", p.dir, "cs")
	if c, msg := p.credentials(t, "connection_string_file = \"cs\"\ncert_file = \"c.pem\"\nprivate_key_file = \"k.pem\"\n"); c.Auth != AuthX509 {
		t.Errorf("by the connection string: got auth %q, %s", c.Auth, msg)
	}
	write(t, 0o604, key, p.dir, "k.pem")
	if _, msg := p.credentials(t, hub); !strings.Contains(msg, "hub.private_key_file: DIR/k.pem: holds a secret, but its mode 0604") {
		t.Errorf("got %s", msg)
	}
	_, other := selfSigned(t)
	write(t, 0o600, other, p.dir, "k.pem")
	if _, msg := p.credentials(t, hub); !strings.Contains(msg, "DIR/c.pem and DIR/k.pem: ") {
		t.Errorf("got %s", msg)
	}
}

func selfSigned(t *testing.T) (certPEM, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}
