package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"iotagent/hubsim"
)

// selfSigned makes a device's certificate and its key, both as PEM, and the thumbprint.
func selfSigned(t *testing.T, name string) (cert, key, thumbprint string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), hex.EncodeToString(sum[:])
}

// A device without a key: its certificate alone opens the way, and another's does not.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	h := newHub(t, hubsim.Options{})
	cert, key, thumbprint := selfSigned(t, "pi-x509")
	cs, err := h.AddX509Device("pi-x509", thumbprint)
	if err != nil {
		t.Fatal(err)
	}
	b := gateway(t, h, settings{})
	stranger, strangerKey, _ := selfSigned(t, "pi-x509")
	certFile, keyFile := b.file("device.pem", stranger, 0o600), b.file("device.key", strangerKey, 0o600)
	b.file("connection-string", cs.Text(), 0o600)
	b.configure(settings{hub: "connection_string_file = \"connection-string\"\nauth = \"x509\"\ncert_file = " +
		quote(certFile) + "\nprivate_key_file = " + quote(filepath.Join(b.dir, filepath.Base(keyFile)))})
	b.do(0, "", "send", "--body", "by certificate")

	d := b.run()
	b.becomes("that the stranger's certificate is refused", func(s status) bool { return s.Link.Class == "auth" })
	d.stop()
	b.file("device.pem", cert, 0o600)
	b.file("device.key", key, 0o600)
	b.do(0, "", "run", "--until-drained")
	if n := h.Accepted(); n != 1 {
		t.Errorf("%d messages at the hub, want 1", n)
	}
}

// A certificate that is renewed on the disk is taken for the next connection, without a restart, on both ways.
func TestCertificateRenewed(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"amqps", "websocket"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, hubsim.Options{})
			cert, key, thumbprint := selfSigned(t, "pi-x509")
			renewed, renewedKey, renewedThumbprint := selfSigned(t, "pi-x509")
			stranger, strangerKey, _ := selfSigned(t, "pi-x509")
			cs, err := h.AddX509Device("pi-x509", thumbprint, renewedThumbprint)
			if err != nil {
				t.Fatal(err)
			}
			b := gateway(t, h, settings{})
			put := func(cert, key string) {
				b.file("device.pem", cert, 0o600)
				b.file("device.key", key, 0o600)
			}
			put(cert, key)
			b.file("connection-string", cs.Text(), 0o600)
			b.configure(settings{
				hub: "connection_string_file = \"connection-string\"\ncert_file = \"device.pem\"\nprivate_key_file = \"device.key\"\ntransport = " +
					quote(way) + "\n" + h.webSocket(),
				blocks: simulated("boiler"),
			})
			d := b.run()
			h.until("telemetry", func() bool { return h.Accepted() >= 3 })
			put(stranger, strangerKey)
			h.DropConnections()
			b.becomes("that the stranger's certificate is refused", func(s status) bool { return s.Link.Class == "auth" })
			put(renewed, renewedKey)
			before := h.Accepted()
			h.until("telemetry with the renewed certificate", func() bool { return h.Accepted() >= before+3 })
			d.says("certificate renewed")
			d.says("certificate ends soon") // within the day
			d.stop()
			h.whole()
		})
	}
}
