package iothub_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
)

// listening is a hub behind TLS on loopback, in real time.
func listening(t *testing.T) (*hubsim.Server, *iothub.Options) {
	t.Helper()
	s, err := hubsim.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.AddDevice(device)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(context.WithoutCancel(t.Context()), l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return s, &iothub.Options{
		Host: "localhost", Gateway: "localhost:" + port(t, l), DeviceID: device, Key: c.Key, TLS: &tls.Config{RootCAs: s.CertPool()},
	}
}

func port(t *testing.T, l net.Listener) string {
	t.Helper()
	_, p, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOverTLS(t *testing.T) {
	s, o := listening(t)
	c, err := iothub.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, c)
	if out := send(t, c, 1); out.State != iothub.Accepted || s.Accepted() != 1 {
		t.Errorf("outcome %+v", out)
	}
}

func TestUntrustedServer(t *testing.T) {
	_, o := listening(t)
	o.TLS = nil
	_, err := iothub.Dial(t.Context(), o)
	if e := want(t, err, iothub.ClassAuth); e.Op != "tls" || !strings.Contains(e.Hint, "ca_file") {
		t.Errorf("%+v", e)
	}
}

func TestNothingListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		t.Fatal(err)
	}
	p := port(t, l)
	_ = l.Close() // so that nothing listens there
	_, err = iothub.Dial(t.Context(), &iothub.Options{Host: "h", Gateway: "127.0.0.1:" + p, DeviceID: "d", Token: "x"})
	want(t, err, iothub.ClassNetwork)
}

// selfSigned is a certificate for a name, valid between two times.
func selfSigned(t *testing.T, name string, from, to time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestHandshakeFailures(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name     string
		serverOf string
		from, to time.Time
		demand   tls.ClientAuthType
		plain    bool
		class    iothub.Class
	}{
		{"expired", "localhost", now.Add(-2 * time.Hour), now.Add(-time.Hour), 0, false, iothub.ClassClock},
		{"not yet valid", "localhost", now.Add(time.Hour), now.Add(2 * time.Hour), 0, false, iothub.ClassClock},
		{"another name", "elsewhere", now.Add(-time.Hour), now.Add(time.Hour), 0, false, iothub.ClassAuth},
		{"no client certificate", "localhost", now.Add(-time.Hour), now.Add(time.Hour), tls.RequireAnyClientCert, false, iothub.ClassAuth},
		{"no TLS", "localhost", now.Add(-time.Hour), now.Add(time.Hour), 0, true, iothub.ClassProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cert, roots := selfSigned(t, tt.serverOf, tt.from, tt.to)
			l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends with the test
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			serving.Go(func() {
				answerOnce(l, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tt.demand}, tt.plain)
			})
			defer serving.Wait()
			defer l.Close() //nolint:errcheck // ends Accept
			_, err = iothub.Dial(t.Context(), &iothub.Options{
				Host: "localhost", Gateway: "localhost:" + port(t, l), DeviceID: "d", Auth: iothub.AuthX509, TLS: &tls.Config{RootCAs: roots},
			})
			want(t, err, tt.class)
		})
	}
}

// answerOnce takes one connection through the handshake, or says something that is not TLS, and closes it.
func answerOnce(l net.Listener, config *tls.Config, plain bool) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // a test's server
	if plain {
		_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) // to whom it may concern
		return
	}
	t := tls.Server(conn, config)
	_, _ = t.Read(make([]byte, 8)) // the handshake's failure is the client's to report
}
