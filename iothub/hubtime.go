package iothub

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// HubDate returns a question for Options.HubTime: the Date of the answer to one HTTPS request to the host, on port 443 unless it names another. The
// certificate has to be for that host and from a root that config trusts (nil: the system's), but at the time that the server says instead of this machine's,
// which is what is in doubt. Proxy returns the proxy for a host and port, nil for none, and may be nil itself. It takes 5 s at most.
func HubDate(host string, config *tls.Config, proxy func(host string, port int) (*url.URL, error)) func(context.Context) (time.Time, error) {
	return func(ctx context.Context) (time.Time, error) {
		ctx, cancel := context.WithTimeout(ctx, hubTimeout)
		defer cancel()
		at, err := hubDate(ctx, host, config, proxy)
		if err != nil {
			return time.Time{}, fmt.Errorf("hub's time: %w", err)
		}
		return at, nil
	}
}

func hubDate(ctx context.Context, host string, config *tls.Config, proxy func(string, int) (*url.URL, error)) (time.Time, error) {
	name, port := splitPort(host)
	number, err := strconv.Atoi(cmp.Or(port, "443"))
	if err != nil {
		return time.Time{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+net.JoinHostPort(name, strconv.Itoa(number))+"/", nil)
	if err != nil {
		return time.Time{}, err
	}
	way := &http.Transport{
		DisableKeepAlives: true,
		// The request holds no secret, and the certificate is verified below, when the time is known to do it at.
		TLSClientConfig: &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}, //nolint:gosec // see above
	}
	if proxy != nil {
		way.Proxy = func(*http.Request) (*url.URL, error) { return proxy(name, number) }
	}
	answer, err := way.RoundTrip(request) // of any status, and redirects are not followed
	if err != nil {
		return time.Time{}, err
	}
	_ = answer.Body.Close() // the answer to HEAD has none
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return time.Time{}, errors.New("the answer has no date")
	}
	verify := x509.VerifyOptions{DNSName: name, CurrentTime: date, Intermediates: x509.NewCertPool()}
	if config != nil {
		verify.Roots = config.RootCAs
	}
	chain := answer.TLS.PeerCertificates
	for _, c := range chain[1:] {
		verify.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(verify); err != nil {
		return time.Time{}, err
	}
	return date, nil
}
