package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// FixedProxy returns an Options.Proxy that is the same for every hub.
func FixedProxy(u *url.URL) func(host string, port int) (*url.URL, error) {
	return func(string, int) (*url.URL, error) { return u, nil }
}

// EnvironmentProxy is an Options.Proxy that takes HTTPS_PROXY and NO_PROXY, or the same in small letters, as they were when it was called first. This
// machine itself is never reached through a proxy.
func EnvironmentProxy(host string, port int) (*url.URL, error) {
	hub := &url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(port))}
	u, err := http.ProxyFromEnvironment(&http.Request{URL: hub})
	if err != nil { // it shows the whole address, password included
		return nil, errors.New("HTTPS_PROXY in the environment is no address of a proxy; want http://host:port")
	}
	return u, nil
}

// proxy returns the proxy for an address, nil for none.
func (d *Dialer) proxy(host string, port int) (*url.URL, error) {
	if d.o.Proxy == nil {
		return nil, nil
	}
	u, err := d.o.Proxy(host, port)
	if err != nil || u == nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%.20q is no kind of proxy that can be used; want http://host:port", u.Scheme)
	}
	return u, nil
}

// statusError is a proxy's refusal to connect.
type statusError struct{ status int }

// Error says what to look for.
func (a *statusError) Error() string {
	switch a.status {
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		return fmt.Sprintf("the proxy answered with HTTP status %d: it does not allow this port or this host", a.status)
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Sprintf("the proxy answered with HTTP status %d: it does not reach the hub", a.status)
	}
	return fmt.Sprintf("the proxy answered with HTTP status %d", a.status)
}

// tunnel connects through a proxy by CONNECT (RFC 9110, 9.3.6); the proxy looks up the name.
func (d *Dialer) tunnel(ctx context.Context, proxy *url.URL, addr string) (net.Conn, *Error) {
	port := cmp.Or(proxy.Port(), map[string]string{"http": "80", "https": "443"}[proxy.Scheme])
	at := net.JoinHostPort(proxy.Hostname(), port)
	c, err := d.o.DialTCP(ctx, "tcp", at)
	if err != nil {
		return nil, failed("proxy", at, err)
	}
	tunneled, err := d.connect(ctx, c, proxy, addr)
	if err != nil {
		_ = c.Close() // err says what happened
		return nil, failed("proxy", at, err)
	}
	return tunneled, nil
}

func (d *Dialer) connect(ctx context.Context, c net.Conn, proxy *url.URL, addr string) (net.Conn, error) {
	if proxy.Scheme == "https" {
		config := d.tlsConfig(proxy.Hostname(), WebSocket) // speaks HTTP/1.1
		config.GetClientCertificate = nil                  // which is for the hub
		secured := tls.Client(c, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c = secured
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: addr}, Host: addr, Header: http.Header{}}
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(proxy.User.Username()+":"+password)))
	}
	resp, rest, err := (&exchange{ctx: ctx, conn: c}).do(req) //nolint:bodyclose // an answer to CONNECT has none that is wanted
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusProxyAuthRequired && proxy.User == nil:
		return nil, fmt.Errorf("%w: it wants a name and a password; set proxy_credentials_file", ErrProxyAuth)
	case resp.StatusCode == http.StatusProxyAuthRequired:
		return nil, fmt.Errorf("%w: check name and password in proxy_credentials_file, and that basic authentication is allowed", ErrProxyAuth)
	case resp.StatusCode/100 != 2:
		return nil, &statusError{resp.StatusCode}
	case rest.Buffered() > 0:
		return nil, errors.New("the proxy sent something of its own into the connection")
	}
	return c, nil
}
