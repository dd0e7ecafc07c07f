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
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"
)

// HubDate returns a question for Options.HubTime: the Date of the answer to one HTTPS request to the host, on port 443 unless it names another. The
// certificate has to be for that host and from a root that config trusts (nil: the system's), but at the time that the server says instead of this machine's,
// which is what is in doubt. Proxy returns the proxy for a host and port, nil for none, and may be nil itself. It takes 5 s at most.
func HubDate(host string, config *tls.Config, proxy func(host string, port int) (*url.URL, error)) func(context.Context) (time.Time, error) {
	return func(ctx context.Context) (time.Time, error) {
		d, err := askDate(ctx, host, config, proxy)
		return d.date, err
	}
}

// HubClock is HubDate for those who want to know the time to the second and better: the hub's time at the moment of the return is at, give or take within, which is at
// least half a second, because a Date says no more than the second. An answer that leaves open more than a second to either side is an error.
func HubClock(host string, config *tls.Config, proxy func(host string, port int) (*url.URL, error)) func(context.Context) (at time.Time, within time.Duration, err error) {
	return func(ctx context.Context) (time.Time, time.Duration, error) {
		d, err := askDate(ctx, host, config, proxy)
		if err != nil {
			return time.Time{}, 0, err
		}
		within, err := dateWithin(d.took)
		if err != nil {
			return time.Time{}, 0, err
		}
		return d.date.Add(within + time.Since(d.came)), within, nil // it was made between the question and the answer, in the second that it says
	}
}

// dateWithin returns what an answer that took so long leaves open.
func dateWithin(took time.Duration) (time.Duration, error) {
	within := (time.Second + took) / 2
	if within > time.Second {
		return 0, fmt.Errorf("hub's time: the answer took %v, which leaves open too much", took.Round(time.Millisecond))
	}
	return within, nil
}

// dateAnswer is the hub's second. It said so in the time took before came.
type dateAnswer struct {
	date, came time.Time
	took       time.Duration
}

func askDate(ctx context.Context, host string, config *tls.Config, proxy func(string, int) (*url.URL, error)) (d dateAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	var asked time.Time
	trace := &httptrace.ClientTrace{ // called one after the other: with the handshake done, and before the answer is there
		GotConn:              func(httptrace.GotConnInfo) { asked = time.Now() },
		GotFirstResponseByte: func() { d.came = time.Now() },
	}
	if d.date, err = hubDate(httptrace.WithClientTrace(ctx, trace), host, config, proxy); err != nil {
		return d, fmt.Errorf("hub's time: %w", err)
	}
	d.took = d.came.Sub(asked)
	return d, nil
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
