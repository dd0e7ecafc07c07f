package hubsim_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

// issuer makes certificates; a nil one makes them sign themselves.
type issuer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (i *issuer) issue(name string, ca bool, until time.Time) (tls.Certificate, *issuer) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until, IsCA: ca, BasicConstraintsValid: ca,
	}
	parent, signer := template, key
	if i.cert != nil {
		parent, signer = i.cert, i.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		i.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, &issuer{i.t, leaf, key}
}

func inPEM(c tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}

// serveTLS starts the AMQP side and returns what connects to it with a certificate.
func (b *bed) serveTLS() func(certs []tls.Certificate, sasl amqp.SASLType) *client {
	b.t.Helper()
	l, err := b.Listen(b.t.Context(), "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(b.t.Context(), l) }()
	b.t.Cleanup(func() {
		if err := errors.Join(b.Close(), <-served); err != nil {
			b.t.Error(err)
		}
	})
	return func(certs []tls.Certificate, sasl amqp.SASLType) *client {
		b.t.Helper()
		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: b.CertPool(), ServerName: "localhost", MinVersion: tls.VersionTLS12, Certificates: certs}}
		nc, err := dialer.DialContext(stepContext(b.t), "tcp", l.Addr().String())
		if err != nil {
			b.t.Fatal(err)
		}
		return openClient(b.t, nc, sasl)
	}
}

func TestDevicesWithCertificates(t *testing.T) {
	b := newBed(t, nil)
	self := &issuer{t: t}
	later, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	one, _ := self.issue("anything", false, later)
	two, _ := self.issue("anything", false, later)
	old, _ := self.issue("anything", false, past)
	rootCert, root := self.issue("root", true, later)
	middleCert, middle := root.issue("middle", true, later)
	direct, _ := root.issue("by-ca", false, later)
	chained, _ := middle.issue("by-ca", false, later)
	chained.Certificate = append(chained.Certificate, middleCert.Certificate[0])
	expired, _ := root.issue("by-ca", false, past)
	module, _ := root.issue("by-ca/m", false, later)
	_, stranger := self.issue("stranger", true, later)
	foreign, _ := stranger.issue("by-ca", false, later)

	short, long := sha1.Sum(one.Certificate[0]), sha256.Sum256(two.Certificate[0])
	oldSum := sha256.Sum256(old.Certificate[0])
	add := func(id string, thumbprints ...string) {
		c, err := b.AddX509Device(id, thumbprints...)
		if err != nil {
			t.Fatal(err)
		}
		if !c.X509 || !c.Key.IsZero() {
			t.Errorf("connection string %s", c.Text())
		}
	}
	add("thumb", hex.EncodeToString(short[:]), strings.ToUpper(hex.EncodeToString(long[:])))
	add("old", hex.EncodeToString(oldSum[:]))
	add("by-ca")
	add("by-ca/m")
	if err := b.AddDeviceCA(append([]byte("a comment\n"), inPEM(rootCert)...)); err != nil {
		t.Fatal(err)
	}
	connect := b.serveTLS()
	for name, tc := range map[string]struct {
		certs []tls.Certificate
		path  string
		ok    bool
	}{
		"sha-1":               {[]tls.Certificate{one}, "thumb", true},
		"sha-256":             {[]tls.Certificate{two}, "thumb", true},
		"issued":              {[]tls.Certificate{direct}, "by-ca", true},
		"issued by another":   {[]tls.Certificate{chained}, "by-ca", true},
		"module":              {[]tls.Certificate{module}, "by-ca/modules/m", true},
		"device as module":    {[]tls.Certificate{direct}, "by-ca/modules/m", false},
		"no certificate":      {nil, "thumb", false},
		"another certificate": {[]tls.Certificate{direct}, "thumb", false},
		"self-signed name":    {[]tls.Certificate{one}, "by-ca", false},
		"unknown authority":   {[]tls.Certificate{foreign}, "by-ca", false},
		"expired":             {[]tls.Certificate{expired}, "by-ca", false},
		"expired thumbprint":  {[]tls.Certificate{old}, "old", false},
		"device with keys":    {[]tls.Certificate{one}, "pi-17", false},
	} {
		for sasl, mechanism := range map[string]amqp.SASLType{"bare": nil, "external": amqp.SASLTypeExternal("")} {
			t.Run(name+" "+sasl, func(t *testing.T) {
				_, err := connect(tc.certs, mechanism).NewSender(stepContext(t), "/devices/"+tc.path+"/messages/events", nil)
				var remote *amqp.Error
				switch {
				case tc.ok && err != nil:
					t.Error(err)
				case !tc.ok && (!errors.As(err, &remote) || remote.Condition != amqp.ErrCondUnauthorizedAccess):
					t.Errorf("got %v, want %s", err, amqp.ErrCondUnauthorizedAccess)
				}
			})
		}
	}
}

func TestCertificateLinksFollowTheRegistry(t *testing.T) {
	b := newBed(t, nil)
	cert, _ := (&issuer{t: t}).issue("d", false, time.Now().Add(time.Hour))
	sum := sha256.Sum256(cert.Certificate[0])
	if _, err := b.AddX509Device("d", hex.EncodeToString(sum[:])); err != nil {
		t.Fatal(err)
	}
	w := b.serveWeb(cert)
	c := openClient(t, w.dialWeb(""), nil) // the certificate counts below a WebSocket too
	s := c.sender("/devices/d/messages/events")
	accepted(t, c.send(s, amqp.NewMessage([]byte("x"))))
	if method := b.Events()[0].Annotations["iothub-connection-auth-method"].(string); !strings.Contains(method, `"type":"x509"`) {
		t.Errorf("auth method %s", method)
	}
	o := w.object(200, w.do("GET", "/devices/d", "registryRead", ""))
	auth := o["authentication"].(map[string]any)
	if auth["type"] != "selfSigned" || auth["symmetricKey"].(map[string]any)["primaryKey"] != nil ||
		auth["x509Thumbprint"].(map[string]any)["primaryThumbprint"] != strings.ToUpper(hex.EncodeToString(sum[:])) {
		t.Errorf("registry says %v", auth)
	}
	if err := b.DisableDevice("d"); err != nil {
		t.Fatal(err)
	}
	if got := b.Links("d"); len(got) != 0 {
		t.Errorf("links of a disabled device: %v", got)
	}
	c.ended(s)
	if _, err := c.NewSender(stepContext(t), "/devices/d/messages/events", nil); err == nil {
		t.Error("a disabled device attached a link")
	}
	if err := b.EnableDevice("d"); err != nil {
		t.Fatal(err)
	}
	s = c.sender("/devices/d/messages/events")
	// Another thumbprint shuts the old certificate out, and keys do.
	for _, body := range []string{
		fmt.Sprintf(`{"deviceId":"d","authentication":{"x509Thumbprint":{"primaryThumbprint":"%040x"}}}`, 1),
		`{"deviceId":"d","authentication":{"type":"sas"}}`,
	} {
		w.object(200, w.do("PUT", "/devices/d", "iothubowner", body, "If-Match", "*"))
		if got := b.Links("d"); len(got) != 0 {
			t.Errorf("%s: links %v", body, got)
		}
		c.ended(s)
		if _, err := c.NewSender(stepContext(t), "/devices/d/messages/events", nil); err == nil {
			t.Errorf("%s: the old certificate still opens links", body)
		}
	}
	if k := b.Devices()["d"]; k.X509 || k.Key.IsZero() {
		t.Errorf("connection string %v", k)
	}
}

func TestX509StateSurvivesARestart(t *testing.T) {
	o := &hubsim.Options{StateDir: t.TempDir()}
	b := newBed(t, o)
	if _, err := b.AddX509Device("x"); err != nil {
		t.Fatal(err)
	}
	again, err := hubsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if c := again.Devices()["x"]; !c.X509 || !c.Key.IsZero() {
		t.Errorf("got %v", c)
	}
}

func TestX509Refusals(t *testing.T) {
	b := newBed(t, nil)
	for _, thumbprints := range [][]string{{"12"}, {strings.Repeat("zz", 20)}, {strings.Repeat("ab", 20), strings.Repeat("ac", 20), strings.Repeat("ad", 20)}} {
		if _, err := b.AddX509Device("x", thumbprints...); err == nil {
			t.Errorf("%q was taken", thumbprints)
		}
	}
	for _, text := range []string{"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if err := b.AddDeviceCA([]byte(text)); err == nil {
			t.Errorf("%q was taken for an authority", text)
		}
	}
}
