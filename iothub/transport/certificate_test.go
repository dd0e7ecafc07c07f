package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pairFiles are a certificate's files, and what was logged of them.
type pairFiles struct {
	t         *testing.T
	cert, key string
	log       bytes.Buffer
	*CertificateFile
}

func wall() time.Time { return time.Now().AddDate(28, 0, 0) } // virtual time begins before any plausible clock

func newPair(t *testing.T, until time.Time) *pairFiles {
	t.Helper()
	dir := t.TempDir()
	p := &pairFiles{t: t, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	c, k := pemPair(t, "device", until)
	p.put(c, k)
	var err error
	p.CertificateFile, err = LoadCertificate(p.cert, p.key, &CertificateOptions{Now: wall, Logger: slog.New(slog.NewTextHandler(&p.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// put replaces the files that are not nil, by rename as tools for renewal do.
func (p *pairFiles) put(cert, key []byte) {
	p.t.Helper()
	for path, data := range map[string][]byte{p.cert: cert, p.key: key} {
		if data == nil {
			continue
		}
		write(p.t, path+".new", data)
		if err := os.Rename(path+".new", path); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *pairFiles) leaf() *x509.Certificate {
	p.t.Helper()
	c, err := p.Certificate()
	if err != nil {
		p.t.Fatal(err)
	}
	return c.Leaf
}

func (p *pairFiles) said(text string) int {
	p.mu.Lock() // under which it is logged
	defer p.mu.Unlock()
	return strings.Count(p.log.String(), text)
}

func TestCertificateRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, wall().AddDate(1, 0, 0))
		if p.Changed() {
			t.Error("changed before the first handshake")
		}
		old := p.leaf()
		cert, key := pemPair(t, "device", wall().AddDate(2, 0, 0))
		p.put(cert, nil) // half of a renewal
		for range 3 {
			if !p.leaf().Equal(old) || p.Changed() {
				t.Error("half of a pair is used")
			}
		}
		if n := p.said("changed certificate not used"); n != 1 {
			t.Errorf("warned %d times:\n%s", n, p.log.String())
		}
		p.put(nil, key)
		if !p.Changed() {
			t.Error("the renewal is not seen")
		}
		if p.leaf().Equal(old) || p.Changed() || !p.Expires().Equal(p.leaf().NotAfter) {
			t.Error("the old certificate is used")
		}
		if n := p.said("certificate renewed"); n != 1 {
			t.Errorf("said %d times:\n%s", n, p.log.String())
		}
		if err := os.Remove(p.key); err != nil {
			t.Fatal(err)
		}
		renewed := p.leaf()
		p.put(cert, key) // the same again
		if !p.leaf().Equal(renewed) || p.Changed() {
			t.Error("the same certificate counts as another")
		}
	})
}

// Each handshake takes what the files hold then, on both ways.
func TestHandshakeTakesRenewedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var leaves []*x509.Certificate
		n.put(plainAddr, func(c net.Conn) {
			config := n.serverTLS()
			config.ClientAuth = tls.RequireAnyClientCert
			config.VerifyConnection = func(s tls.ConnectionState) error {
				leaves = append(leaves, s.PeerCertificates[0])
				return nil
			}
			s := tls.Server(c, config)
			_, _ = io.Copy(s, s)
			_ = s.Close()
		})
		p := newPair(t, wall().AddDate(1, 0, 0))
		o := n.options()
		o.Mode, o.Certificate = AMQPS, p.Certificate
		d := New(o)
		for range 2 {
			c := dialed(t, d, Endpoint{Host: hubName})
			talk(t, c, 1) // the server has seen it
			_ = c.Close()
			p.put(pemPair(t, "device", wall().AddDate(2, 0, 0)))
		}
		if len(leaves) != 2 || leaves[0].Equal(leaves[1]) {
			t.Errorf("%d handshakes, with one certificate", len(leaves))
		}

		o.Certificate = nil
		c, err := New(o).Dial(t.Context(), Endpoint{Host: hubName})
		if err == nil { // TLS 1.3: the server's refusal comes with the first read
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Errorf("without a certificate: %v", err)
		}
	})
}

func TestCertificateEndIsSpokenOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, wall().Add(32*24*time.Hour+time.Minute))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go p.Watch(ctx)
		for _, step := range []struct {
			days, ahead, after int
		}{{1, 0, 0}, {2, 1, 0}, {10, 11, 0}, {19, 30, 0}, {3, 30, 3}} {
			time.Sleep(time.Duration(step.days) * 24 * time.Hour)
			synctest.Wait()
			if a, b := p.said("certificate ends soon"), p.said("certificate has ended"); a != step.ahead || b != step.after {
				t.Errorf("after %d days more: warned %d times, told of the end %d times", step.days, a, b)
			}
		}
		p.put(pemPair(t, "device", wall().AddDate(1, 0, 0)))
		before := p.said("certificate has ended")
		time.Sleep(3 * 24 * time.Hour)
		synctest.Wait()
		if p.said("certificate has ended") != before || p.said("certificate renewed") != 1 {
			t.Errorf("after the renewal:\n%s", p.log.String())
		}
	})
}

func TestCertificateMustBeThere(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	if _, err := LoadCertificate(cert, key, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	c, _ := pemPair(t, "device", time.Now().Add(time.Hour))
	_, k := pemPair(t, "device", time.Now().Add(time.Hour))
	write(t, cert, c)
	write(t, key, k)
	if _, err := LoadCertificate(cert, key, nil); err == nil || !strings.Contains(err.Error(), cert+" and "+key) {
		t.Errorf("got %v", err)
	}
}
