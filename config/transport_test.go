package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestTransportKeys(t *testing.T) {
	f, err := Parse("f.toml", []byte(`[hub]
connection_string_file = "cs"
transport = "websocket"
port = 5673
websocket_port = 8443
proxy = "http://proxy.example:3128"
keepalive = "4m"
[outbox]
order = "live-first"
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := f.Hub
	if h.Transport != "websocket" || h.Port != 5673 || h.WebSocketPort != 8443 || h.KeepAlive.Duration != 4*time.Minute || f.Outbox.Order != "live-first" {
		t.Errorf("got %+v, order %s", h, f.Outbox.Order)
	}
}

func TestProxyURL(t *testing.T) {
	for text, want := range map[string]bool{
		"http://proxy.example:3128": true, "http://proxy.example": true, "https://proxy.example/": true, "http://[2001:db8::1]:3128": true, "none": true,
		"": false, "proxy.example:3128": false, "socks5://proxy.example:1080": false, "http://": false, "http://:3128": false,
		"http://proxy.example/path": false, "http://proxy.example:0": false, "http://proxy.example:65536": false, "http://proxy.example:port": false,
		"http://[::1": false, "http://proxy.example?x": false, "http://user:c2VjcmV0@proxy.example": false, "user:c2VjcmV0@proxy.example:1": false,
		"None": false, "http://proxy.example:3128\n": false,
	} {
		u, msg := proxyURL(text)
		if (msg == "") != want || msg == "" && (u == nil) != (text == ProxyNone) {
			t.Errorf("%q: got %v, %q", text, u, msg)
		}
		if strings.Contains(msg, "c2VjcmV0") {
			t.Errorf("%q shows a secret", msg)
		}
	}
}

func TestProxyCredentials(t *testing.T) {
	const hub = "connection_string_file = \"cs\"\nproxy = \"http://proxy.example:3128\"\nproxy_credentials_file = \"p\"\n"
	const at = "DIR/iotagent.toml:4:26: hub.proxy_credentials_file: "
	for _, tc := range []struct {
		name, text, want, msg string
	}{
		{"plain", "user:c2VjcmV0\n", "http://user:c2VjcmV0@proxy.example:3128", ""},
		{"colons", "user:c2:Vj", "http://user:c2%3AVj@proxy.example:3128", ""},
		{"empty password", "user:", "http://user:@proxy.example:3128", ""},
		{"no colon", "c2VjcmV0", "", at + "want one line user:password in the file"},
		{"no user", ":c2VjcmV0", "", at + "want one line user:password in the file"},
		{"two lines", "user:c2VjcmV0\nuser2:c2VjcmV0", "", at + "want one line user:password in the file"},
		{"empty", "\n", "", at + "DIR/p: is empty"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			write(t, 0o600, deviceString, p.dir, "cs")
			write(t, 0o600, tc.text, p.dir, "p")
			c, msg := p.credentials(t, hub)
			if msg != tc.msg {
				t.Fatalf("got %q", msg)
			}
			if msg == "" && c.Proxy.String() != tc.want {
				t.Errorf("got %s", c.Proxy)
			}
			if shown := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(shown, "c2VjcmV0") {
				t.Errorf("%s shows the password", shown)
			}
		})
	}
	p := newPlace(t)
	write(t, 0o600, deviceString, p.dir, "cs")
	write(t, 0o644, "user:c2VjcmV0", p.dir, "p")
	if _, msg := p.credentials(t, hub); !strings.Contains(msg, at+"DIR/p: holds a secret, but its mode 0644") {
		t.Errorf("got %s", msg)
	}
	if c, msg := p.credentials(t, "connection_string_file = \"cs\"\nproxy = \"none\"\n"); c.Proxy != nil || msg != "" {
		t.Errorf("none: got %v, %s", c.Proxy, msg)
	}
}

func TestSecondaryKey(t *testing.T) {
	const file = "connection_string_file = \"cs\"\nsecondary_key_file = \"k\"\n"
	const at = "DIR/iotagent.toml:3:22: hub.secondary_key_file: "
	for _, tc := range []struct {
		name, cs, key, hub, msg string
	}{
		{"beside a connection string", deviceString, "b3RoZXI=\n", file, ""},
		{"with SASL PLAIN", deviceString, "b3RoZXI=", file + `auth = "sas-plain"`, ""},
		{"beside a key", "c2VjcmV0", "b3RoZXI=", "host = \"h\"\ndevice_id = \"d\"\nkey_file = \"cs\"\nsecondary_key_file = \"k\"\n", ""},
		{"no base64", deviceString, "c2VjcmV0!", file, at + "shared access key is not base64: copy it again, whole, from the portal"},
		{"a connection string", deviceString, deviceString, file, at + "the file holds a connection string, not a key; put its SharedAccessKey alone into the file"},
		{"empty", deviceString, "", file, at + "DIR/k: is empty"},
		{"x509", "HostName=h;DeviceId=d;x509=true", "b3RoZXI=", file + "cert_file = \"cs\"\nprivate_key_file = \"cs\"", at + "is of no use: the connection string says x509=true"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			write(t, 0o600, tc.cs, p.dir, "cs")
			write(t, 0o600, tc.key, p.dir, "k")
			c, msg := p.credentials(t, tc.hub)
			msg, _, _ = strings.Cut(msg, "\n") // what else is wrong with x509
			if msg != tc.msg {
				t.Fatalf("got %q", msg)
			}
			if msg == "" && (c.SecondaryKey.Text() != "b3RoZXI=" || c.Key.Text() != "c2VjcmV0") {
				t.Errorf("got keys %q and %q", c.Key.Text(), c.SecondaryKey.Text())
			}
		})
	}
}

// A renewed private key that others may read is not used, as it would not be at the start.
func TestRenewedKeyIsGuarded(t *testing.T) {
	p := newPlace(t)
	var log bytes.Buffer
	p.opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cert, key := selfSigned(t)
	write(t, 0o644, cert, p.dir, "c.pem")
	write(t, 0o600, key, p.dir, "k.pem")
	c, msg := p.credentials(t, "host = \"h\"\ndevice_id = \"d\"\nauth = \"x509\"\ncert_file = \"c.pem\"\nprivate_key_file = \"k.pem\"\n")
	if msg != "" {
		t.Fatal(msg)
	}
	old, err := c.Certificate.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	cert, key = selfSigned(t)
	write(t, 0o644, cert+"\n", p.dir, "c.pem") // of another size, whatever the grain of the clock of files
	write(t, 0o604, key+"\n", p.dir, "k.pem")
	if now, err := c.Certificate.Certificate(); err != nil || now != old || !strings.Contains(log.String(), "lets others at it") {
		t.Errorf("%v; the same %t, log:\n%s", err, now == old, log.String())
	}
	write(t, 0o600, key+"\n", p.dir, "k.pem")
	if now, err := c.Certificate.Certificate(); err != nil || now == old || !strings.Contains(log.String(), "certificate renewed") {
		t.Errorf("%v; the same %t, log:\n%s", err, now == old, log.String())
	}
}
