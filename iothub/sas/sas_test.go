package sas_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/iothub/sas"
)

const (
	keyText = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" // bytes 0..31
	expiry  = 1700000000
)

func key(tb testing.TB) sas.Key {
	tb.Helper()
	k, err := sas.ParseKey(keyText)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestTokenText(t *testing.T) {
	tests := []struct{ resource, policy, want string }{
		{
			"myhub.azure-devices.net/devices/dev1", "",
			"SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdev1&sig=i%2BYmMcSSZc4KzBi6ejz3l0iL%2B2sN0CE3q6vSm837h2g%3D&se=1700000000",
		},
		{
			"myhub.azure-devices.net", "service",
			"SharedAccessSignature sr=myhub.azure-devices.net&sig=iIzEw6hi6GK79RY5jNXO6QeQkSL%2FAx4zTmy44X2G1VY%3D&se=1700000000&skn=service",
		},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, key(t).Token(tt.resource, time.Unix(expiry, 0), tt.policy)); diff != "" {
			t.Errorf("%s: %s", tt.resource, diff)
		}
	}
}

// Every client spells sr in its own way, and the signature is over that spelling.
func TestParseTokenSpellings(t *testing.T) {
	const device = "myhub.azure-devices.net/devices/dev1"
	tests := []struct{ name, text, resource, policy string }{
		{"node", "sr=myhub.azure-devices.net%2Fdevices%2Fdev1&sig=i%2BYmMcSSZc4KzBi6ejz3l0iL%2B2sN0CE3q6vSm837h2g%3D&se=1700000000", device, ""},
		{"old .net", "sr=myhub.azure-devices.net%2fdevices%2fdev1&sig=dUk3ecSsggNPeQNG98fO6Pv16mCcXEgP6lT2QfotQ4s%3d&se=1700000000", device, ""},
		{"c", "sr=myhub.azure-devices.net/devices/dev1&sig=MXrV7dIYA4Nv1boM3d4kgQQtxA3MyMN%2fBRPwZ8fvsA0%3d&se=1700000000&skn=", device, ""},
		{"raw plus", "sr=myhub.azure-devices.net%2Fdevices%2Fdev1&sig=i+YmMcSSZc4KzBi6ejz3l0iL+2sN0CE3q6vSm837h2g=&se=1700000000", device, ""},
		{"other order", "sig=iIzEw6hi6GK79RY5jNXO6QeQkSL%2FAx4zTmy44X2G1VY%3D&se=1700000000&skn=service&sr=myhub.azure-devices.net", "myhub.azure-devices.net", "service"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := sas.ParseToken("\ufeff SharedAccessSignature " + tt.text + "\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if got.Resource != tt.resource || got.Policy != tt.policy || got.Expires.Unix() != expiry {
				t.Errorf("got %v, policy %q", got, got.Policy)
			}
			if !got.SignedBy(key(t)) {
				t.Error("not signed by its key")
			}
			if got.SignedBy(sas.NewKey([]byte("another"))) || got.SignedBy(sas.Key{}) {
				t.Error("signed by a wrong key")
			}
		})
	}
}

func TestParseTokenRefuses(t *testing.T) {
	const sig = "i%2BYmMcSSZc4KzBi6ejz3l0iL%2B2sN0CE3q6vSm837h2g%3D"
	tests := []struct{ name, text, want string }{
		{"empty", "", "does not begin with"},
		{"bearer", "Bearer abc", "does not begin with"},
		{"no sr", "SharedAccessSignature sig=" + sig + "&se=1", "lacks sr"},
		{"empty sr", "SharedAccessSignature sr=&sig=" + sig + "&se=1", "empty sr"},
		{"no sig", "SharedAccessSignature sr=h&se=1", "lacks sig"},
		{"no se", "SharedAccessSignature sr=h&sig=" + sig, "lacks se"},
		{"twice", "SharedAccessSignature sr=h&sr=h&sig=" + sig + "&se=1", "twice"},
		{"no value", "SharedAccessSignature sr", "without a value"},
		{"words for se", "SharedAccessSignature sr=h&sig=" + sig + "&se=soon", "se is not"},
		{"huge se", "SharedAccessSignature sr=h&sig=" + sig + "&se=9223372036854775807", "se is not"},
		{"bad sig", "SharedAccessSignature sr=h&sig=***&se=1", "sig is not base64"},
		{"bad escape", "SharedAccessSignature sr=%zz&sig=" + sig + "&se=1", "escape"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := sas.ParseToken(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "i%2BYm") {
				t.Errorf("error shows the signature: %v", err)
			}
		})
	}
}

func TestCovers(t *testing.T) {
	tests := []struct {
		granted, wanted string
		want            bool
	}{
		{"h/devices/d", "h/devices/d", true},
		{"H.Example/devices/d", "h.example/devices/d", true},
		{"h/devices/d", "h/devices/d/modules/m", true},
		{"h/devices", "h/devices/d", true},
		{"h", "h/devices/d", true},
		{"h/", "h/devices/d", true},
		{"amqps://h/devices/d", "h/devices/d", true},
		{"h/devices/a,b", "h/devices/a%2Cb", true},
		{"h/devices/d", "h/devices/dd", false},
		{"h/devices/d", "h/devices/D", false},
		{"h/devices/d/modules/m", "h/devices/d", false},
		{"h", "hh", false},
		{"", "h/devices/d", false},
		{"/", "h/devices/d", false},
	}
	for _, tt := range tests {
		if got := sas.Covers(tt.granted, tt.wanted); got != tt.want {
			t.Errorf("Covers(%q, %q) = %v", tt.granted, tt.wanted, got)
		}
	}
	for _, id := range []string{"pi-17", "a%b", "a:b@c", "x,(y)!*'$"} {
		tok, err := sas.ParseToken(key(t).Token(sas.Resource("h", id, "m"), time.Unix(expiry, 0), ""))
		if err != nil || !sas.Covers(tok.Resource, sas.Resource("h", id, "m")) || !tok.SignedBy(key(t)) {
			t.Errorf("token for %q does not cover it: %v, %v", id, tok, err)
		}
	}
}

func TestParseConnectionString(t *testing.T) {
	const token = "SharedAccessSignature sr=h&sig=i%2BYmMcSSZc4KzBi6ejz3l0iL%2B2sN0CE3q6vSm837h2g%3D&se=1"
	k := key(t)
	tests := []struct {
		name, text string
		want       sas.ConnectionString
	}{
		{"device", "HostName=h;DeviceId=d=1;SharedAccessKey=" + keyText, sas.ConnectionString{HostName: "h", DeviceID: "d=1", Key: k}},
		{
			"module behind a gateway", "HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=" + keyText + ";GatewayHostName=localhost:5671",
			sas.ConnectionString{HostName: "h", DeviceID: "d", ModuleID: "m", Key: k, GatewayHostName: "localhost:5671"},
		},
		{"certificate", "HostName=h;DeviceId=d;x509=True", sas.ConnectionString{HostName: "h", DeviceID: "d", X509: true}},
		{"signature", "HostName=h;DeviceId=d;SharedAccessSignature=" + token, sas.ConnectionString{HostName: "h", DeviceID: "d", Token: token}},
		{
			"service", "HostName=h:5671;SharedAccessKeyName=service;SharedAccessKey=" + keyText,
			sas.ConnectionString{HostName: "h:5671", SharedAccessKeyName: "service", Key: k},
		},
		{
			"event hub", "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=p;SharedAccessKey=" + keyText + ";EntityPath=e",
			sas.ConnectionString{Endpoint: "sb://ns.servicebus.windows.net/", SharedAccessKeyName: "p", Key: k, EntityPath: "e"},
		},
		{
			"untidy", "\ufeff hostname = h ;\r\nDEVICEID=d; SharedAccessKey=" + keyText + ";\r\n",
			sas.ConnectionString{HostName: "h", DeviceID: "d", Key: k},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := sas.ParseConnectionString(tt.text)
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Fatalf("%v %s", err, diff)
			}
			again, err := sas.ParseConnectionString(got.Text())
			if diff := cmp.Diff(got, again); diff != "" || err != nil {
				t.Errorf("read back: %v %s", err, diff)
			}
			for _, print := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
				for _, v := range []any{got, &got, struct{ C *sas.ConnectionString }{&got}, struct{ k sas.Key }{got.Key}} {
					if text := fmt.Sprintf(print, v); strings.Contains(text, keyText) || strings.Contains(text, "i%2BYm") || strings.Contains(text, "30 31") || strings.Contains(text, "1e1f") {
						t.Errorf("%q shows a secret: %s", print, text)
					}
				}
			}
		})
	}
}

func TestParseConnectionStringRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "HostName is missing"},
		{"no host", "DeviceId=d;SharedAccessKey=" + keyText, "HostName is missing"},
		{"no device", "HostName=h;SharedAccessKey=" + keyText, "DeviceId is missing"},
		{"module alone", "HostName=h;ModuleId=m;SharedAccessKey=" + keyText, "DeviceId is missing"},
		{"certificate alone", "HostName=h;x509=true", "DeviceId is missing"},
		{"no key", "HostName=h;DeviceId=d", "SharedAccessKey is missing"},
		{"empty key", "HostName=h;DeviceId=d;SharedAccessKey=", "SharedAccessKey is empty"},
		{"broken key", "HostName=h;DeviceId=d;SharedAccessKey=hush!hush", "not base64"},
		{"key and certificate", "HostName=h;DeviceId=d;x509=true;SharedAccessKey=" + keyText, "exclude"},
		{"two forms", "HostName=h;Endpoint=sb://x/;SharedAccessKeyName=p;SharedAccessKey=" + keyText, "exclude"},
		{"twice", "HostName=h;HostName=i;DeviceId=d;SharedAccessKey=" + keyText, "HostName stands in it twice"},
		{"unknown", "HostName=h;DeviceID=d;SharedAcessKey=" + keyText, "part 3 has an unknown key"},
		{"the key alone", keyText, "part 1 has an unknown key"},
		{"no equals", "HostName=h;d", `part 2 has no "="`},
		{"scheme", "HostName=https://h;DeviceId=d;SharedAccessKey=" + keyText, "HostName must be a bare name"},
		{"odd x509", "HostName=h;DeviceId=d;x509=yes", "x509 must be"},
		{"broken signature", "HostName=h;DeviceId=d;SharedAccessSignature=hush", "does not begin with"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := sas.ParseConnectionString(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), keyText[:20]) || strings.Contains(err.Error(), "hush") {
				t.Errorf("error shows the secret: %v", err)
			}
		})
	}
}

func FuzzParseConnectionString(f *testing.F) {
	f.Add("HostName=h;DeviceId=d;SharedAccessKey=" + keyText)
	f.Add("Endpoint=sb://x/;SharedAccessKeyName=p;SharedAccessKey=AA==;EntityPath=e")
	f.Add("\ufeffHostName=h;DeviceId=d;x509=true;;\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := sas.ParseConnectionString(text)
		if err != nil {
			return
		}
		again, err := sas.ParseConnectionString(c.Text())
		if diff := cmp.Diff(c, again); diff != "" || err != nil {
			t.Errorf("%q is not read back: %v %s", text, err, diff)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add("SharedAccessSignature sr=h%2fdevices%2Fd&sig=AA%3D%3D&se=1700000000&skn=x")
	f.Add("SharedAccessSignature sig=+/8=&se=0&sr=h")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := sas.ParseToken(text)
		if err != nil {
			return
		}
		k := sas.NewKey([]byte("k"))
		again, err := sas.ParseToken(k.Token(tok.Resource, tok.Expires, tok.Policy))
		if err != nil || again.Resource != tok.Resource || again.Policy != tok.Policy || !again.Expires.Equal(tok.Expires) || !again.SignedBy(k) {
			t.Errorf("%q is not read back: %v, %v", text, again, err)
		}
	})
}
