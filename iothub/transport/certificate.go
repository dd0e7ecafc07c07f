package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"iotagent/internal/clock"
)

// WarnAhead is how long before its end a certificate is spoken of.
const WarnAhead = 30 * 24 * time.Hour

const (
	// warnEvery is how often it is.
	warnEvery = 24 * time.Hour
	// lookEvery is how often Watch looks at the files.
	lookEvery = time.Hour
)

// CertificateOptions says how the files of a certificate are read.
type CertificateOptions struct {
	// ReadCertificate and ReadKey read the two files whole; default os.ReadFile. Their errors must hold no secret.
	ReadCertificate, ReadKey func(path string) ([]byte, error)
	// Now is the wall clock; default time.Now.
	Now func() time.Time
	// Logger defaults to a discarding one.
	Logger *slog.Logger
}

// CertificateFile is a client certificate with its key in two PEM files, which are read again at the next handshake after they changed, so that a
// renewed certificate needs no restart. While they do not fit together, as in the middle of a renewal, the last pair that did is used.
// Its methods may be called from any goroutine.
type CertificateFile struct {
	cert, key string
	o         CertificateOptions

	mu    sync.Mutex
	seen  [2]os.FileInfo // of the last look, nil for a file that was not there
	bad   string         // what was wrong with them then
	pair  *tls.Certificate
	given *tls.Certificate // to the last handshake
	said  time.Time        // the last warning of the end
}

// LoadCertificate reads a certificate, with the chain behind it, and its key. Both must be there and fit together.
func LoadCertificate(cert, key string, o *CertificateOptions) (*CertificateFile, error) {
	f := &CertificateFile{cert: cert, key: key}
	if o != nil {
		f.o = *o
	}
	if f.o.ReadCertificate == nil {
		f.o.ReadCertificate = os.ReadFile
	}
	if f.o.ReadKey == nil {
		f.o.ReadKey = os.ReadFile
	}
	if f.o.Now == nil {
		f.o.Now = time.Now
	}
	if f.o.Logger == nil {
		f.o.Logger = slog.New(slog.DiscardHandler)
	}
	f.seen = f.look()
	pair, err := f.read()
	if err != nil {
		return nil, err
	}
	f.pair = pair
	return f, nil
}

// look returns what the files are now.
func (f *CertificateFile) look() (infos [2]os.FileInfo) {
	for i, path := range [2]string{f.cert, f.key} {
		if info, err := os.Stat(path); err == nil {
			infos[i] = info
		}
	}
	return infos
}

func (f *CertificateFile) read() (*tls.Certificate, error) {
	cert, err := f.o.ReadCertificate(f.cert)
	if err != nil {
		return nil, err
	}
	key, err := f.o.ReadKey(f.key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", f.cert, f.key, err)
	}
	return &pair, nil
}

// Certificate returns the pair for a handshake: Options.Certificate. It fails never; the error is that function's.
func (f *CertificateFile) Certificate() (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	f.given = f.pair
	return f.pair, nil
}

// Expires returns when the certificate ends.
func (f *CertificateFile) Expires() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pair.Leaf.NotAfter
}

// Changed reports whether the files hold another pair than the one of the last handshake, which living connections go on with: who wants them on the new
// one connects again.
func (f *CertificateFile) Changed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	return f.given != nil && f.given != f.pair
}

// Watch looks at the files from time to time until ctx ends, so that a certificate's end is spoken of 30 days ahead, once a day, however long the
// connection holds.
func (f *CertificateFile) Watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		f.mu.Lock()
		f.refresh()
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// refresh reads the files if they changed since the last look, or could not be used then, and warns of the end.
func (f *CertificateFile) refresh() {
	if now := f.look(); f.bad != "" || changed(f.seen, now) {
		f.seen = now
		f.take(f.read())
	}
	f.warn()
}

func (f *CertificateFile) take(pair *tls.Certificate, err error) {
	switch {
	case err != nil && err.Error() != f.bad:
		f.bad = err.Error()
		f.o.Logger.Warn("changed certificate not used; the one before is", "error", err, "expires", f.pair.Leaf.NotAfter)
	case err != nil: // said already
	case !slices.EqualFunc(pair.Certificate, f.pair.Certificate, bytes.Equal):
		f.bad, f.pair, f.said = "", pair, time.Time{}
		f.o.Logger.Info("certificate renewed", "file", f.cert, "expires", pair.Leaf.NotAfter)
	default:
		f.bad = ""
	}
}

func (f *CertificateFile) warn() {
	now, end := f.o.Now(), f.pair.Leaf.NotAfter
	if !clock.Plausible(now) || end.Sub(now) > WarnAhead || now.Sub(f.said).Abs() < warnEvery {
		return
	}
	f.said = now
	if now.After(end) {
		f.o.Logger.Error("certificate has ended: put a new one in its place", "file", f.cert, "expires", end)
		return
	}
	f.o.Logger.Warn("certificate ends soon: put a new one in its place", "file", f.cert, "expires", end, "days", int(end.Sub(now)/(24*time.Hour)))
}

// changed reports whether one of two files is another, or not what it was.
func changed(a, b [2]os.FileInfo) bool {
	for i := range a {
		switch {
		case a[i] == nil || b[i] == nil:
			if a[i] != b[i] {
				return true
			}
		case !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()):
			return true
		}
	}
	return false
}
