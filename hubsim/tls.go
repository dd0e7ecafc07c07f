package hubsim

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// authority is the hub's own certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 365 * 24 * time.Hour
	// backdate lets clients whose clock is somewhat behind trust a certificate that was just made.
	backdate = 24 * time.Hour
)

func newAuthority(now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "hubsim CA " + randomHex(4)},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	return &authority{cert, key}, nil
}

// server issues a certificate for the names that clients of a local hub use.
func (a *authority) server(hostname string, now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: hostname},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(serverLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(hostname); ip != nil {
		template.IPAddresses = append(template.IPAddresses, ip)
	} else {
		template.DNSNames = append(template.DNSNames, hostname)
	}
	if !slices.Contains(template.DNSNames, "localhost") {
		template.DNSNames = append(template.DNSNames, "localhost")
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}, nil
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil { // cannot happen: the reader never fails
		return big.NewInt(time.Now().UnixNano())
	}
	return n.Add(n, big.NewInt(1))
}

// certPEM and keyPEM are the two halves that a state directory keeps.
func (a *authority) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) keyPEM() ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func parseAuthority(certText, keyText []byte) (*authority, error) {
	pair, err := tls.X509KeyPair(bytes.Clone(certText), keyText)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("certificate authority: not an ECDSA key")
	}
	return &authority{pair.Leaf, key}, nil
}

// CertPool returns the roots that clients of this hub have to trust.
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.cert)
	return pool
}

// CAPEM returns the same as CertPool, as the text of a ca_file.
func (s *Server) CAPEM() []byte { return s.ca.certPEM() }

// TLSConfig returns what a TLS listener of this hub needs. Clients are asked for a certificate and may come without.
func (s *Server) TLSConfig() (*tls.Config, error) {
	cert, err := s.ca.server(s.opts.Hostname, s.opts.Now())
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}, nil
}

// Listen opens a TLS listener on a TCP address for Serve. From then on connection strings name its port when that is not 5671, and a state
// directory's files are written anew.
func (s *Server) Listen(ctx context.Context, addr string) (net.Listener, error) {
	config, err := s.TLSConfig()
	if err != nil {
		return nil, err
	}
	plain, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	l := tls.NewListener(&rawListener{plain, s}, config)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.port = ""
	if _, port, err := net.SplitHostPort(l.Addr().String()); err == nil {
		s.port = port
	}
	if err := s.saveLocked(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// oddPortLocked is the port that connection strings have to name, "" when it is the usual one.
func (s *Server) oddPortLocked() string {
	if s.port == "5671" {
		return ""
	}
	return s.port
}
