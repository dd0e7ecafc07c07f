package hubsim

import (
	"crypto/sha1" //nolint:gosec // a thumbprint is a name for a certificate here, compared with what the registry holds
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"iotagent/iothub/sas"
)

// AddX509Device registers a device, or with a module's name one of its modules ("DEVICE/MODULE"), that proves itself with a client
// certificate: one with a thumbprint given here (SHA-1 or SHA-256, at most two) or, without thumbprints, one that an authority added with
// AddDeviceCA has issued to the common name "DEVICE" or "DEVICE/MODULE". It returns its connection string, which has no secret.
func (s *Server) AddX509Device(id string, thumbprints ...string) (sas.ConnectionString, error) {
	name, module, isModule := strings.Cut(id, "/")
	if isModule {
		if err := CheckDeviceID(module); err != nil {
			return sas.ConnectionString{}, fmt.Errorf("module: %w", err)
		}
	}
	d := &device{id: name, module: module, auth: authCA}
	if len(thumbprints) > 0 {
		var err error
		if d.thumbprints, err = cleanThumbprints(thumbprints...); err != nil {
			return sas.ConnectionString{}, fmt.Errorf("add %q: %w", id, err)
		}
		d.auth = authSelfSigned
	}
	return s.register(d)
}

// AddDeviceCA trusts the authorities in PEM text to issue certificates to devices. They are not kept in the state directory.
func (s *Server) AddDeviceCA(text []byte) error {
	var added []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("device authority: %w", err)
		}
		added = append(added, cert)
	}
	if len(added) == 0 {
		return errors.New("device authority: no certificate in PEM form")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cert := range added {
		s.deviceCAs.AddCert(cert)
	}
	return nil
}

// certificates returns what the client showed in TLS, its own certificate first; nil for nothing.
func (c *conn) certificates() []*x509.Certificate {
	if state := c.wire.TLS(); state != nil {
		return state.PeerCertificates
	}
	return nil
}

// admitCertificateLocked lets the connection act as an identity whose certificate it has shown. Neither SASL nor a token is needed then.
func (c *conn) admitCertificateLocked(a address) {
	d := c.s.devices[a.identity()]
	chain := c.certificates()
	if d == nil || len(chain) == 0 || c.s.disabledLocked(d) {
		return
	}
	if err := c.s.judgeCertificateLocked(d, chain); err != nil {
		c.s.opts.Logger.Info("client certificate refused", "device", d.key(), "error", err)
		return
	}
	c.addGrantLocked("x509|"+d.key(), &grant{rights: deviceConnect, device: d.key(), x509: true})
}

func (s *Server) judgeCertificateLocked(d *device, chain []*x509.Certificate) error {
	leaf, now := chain[0], s.opts.Now()
	switch d.auth {
	case authSelfSigned:
		if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
			return errors.New("it is not valid at this time")
		}
		one, two := sha1.Sum(leaf.Raw), sha256.Sum256(leaf.Raw) //nolint:gosec // see the import
		for _, sum := range [][]byte{one[:], two[:]} {
			if slices.Contains(d.thumbprints[:], strings.ToUpper(hex.EncodeToString(sum))) {
				return nil
			}
		}
		return errors.New("its thumbprint is not the registered one")
	case authCA:
		if leaf.Subject.CommonName != d.key() {
			return fmt.Errorf("it was issued to %q", leaf.Subject.CommonName)
		}
		between := x509.NewCertPool()
		for _, cert := range chain[1:] {
			between.AddCert(cert)
		}
		_, err := leaf.Verify(x509.VerifyOptions{
			Roots: s.deviceCAs, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		return err
	case authSAS:
	}
	return errors.New("the device is registered with keys")
}

// cleanThumbprints returns one or two SHA-1 or SHA-256 thumbprints in the registry's spelling: hexadecimal in capitals, without separators.
func cleanThumbprints(texts ...string) (clean [2]string, err error) {
	n := 0
	for _, text := range texts {
		text = strings.ToUpper(strings.NewReplacer(":", "", " ", "", "-", "").Replace(text))
		if text == "" {
			continue
		}
		if raw, err := hex.DecodeString(text); err != nil || len(raw) != 20 && len(raw) != 32 {
			return clean, badArgument("thumbprint: want the SHA-1 or SHA-256 of a certificate in hexadecimal, 40 or 64 digits.")
		}
		if n == len(clean) {
			return clean, badArgument("thumbprint: want one or two.")
		}
		clean[n] = text
		n++
	}
	if n == 0 {
		return clean, badArgument("thumbprint: want at least one for a device of type %s.", authSelfSigned)
	}
	return clean, nil
}
