package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ProxyNone is the Hub.Proxy that ignores the environment.
const ProxyNone = "none"

// The bounds of Hub.KeepAlive: a shorter one costs more than it finds, and after four minutes of silence the hub itself ends a connection.
const (
	minKeepAlive = 5 * time.Second
	maxKeepAlive = 4 * time.Minute
)

// checkTransport checks how the hub is reached.
func (l *loader) checkTransport(h *Hub) {
	l.oneOf("hub.transport", h.Transport, []string{"auto", "amqps", "websocket"})
	for _, p := range [...]struct {
		key  string
		port int
	}{{"hub.port", h.Port}, {"hub.websocket_port", h.WebSocketPort}} {
		if l.has(p.key) && (p.port < 1 || p.port > 65535) {
			l.bad(p.key, fmt.Sprintf("want 1 to 65535, got %d", p.port))
		}
	}
	l.within("hub.keepalive", h.KeepAlive, minKeepAlive, maxKeepAlive)
	if l.has("hub.proxy") {
		if _, msg := proxyURL(h.Proxy); msg != "" {
			l.bad("hub.proxy", msg)
		}
	}
	if l.has("hub.proxy_credentials_file") && (h.Proxy == "" || h.Proxy == ProxyNone) {
		l.bad("hub.proxy_credentials_file", "is used only with proxy; for a proxy of the environment they stand in HTTPS_PROXY")
	}
}

// proxyURL returns the address of a proxy, nil for none, or what is wrong with it, without repeating it: it may hold a password.
func proxyURL(text string) (u *url.URL, msg string) {
	const want = `want "http://host:port", or "none" to ignore what the environment says`
	if text == ProxyNone {
		return nil, ""
	}
	u, err := url.Parse(text)
	switch {
	case strings.Contains(text, "@"):
		return nil, "holds a user or a password; put user:password into a file and name that under proxy_credentials_file"
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, want
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, "want a port from 1 to 65535"
		}
	}
	return u, ""
}

// proxy puts the proxy's address and credentials together.
func (r *reading) proxy() {
	if r.h.Proxy == "" {
		return
	}
	u, msg := proxyURL(r.h.Proxy)
	if msg != "" {
		r.bad("hub.proxy", msg, nil)
		return
	}
	r.outcome.Proxy = u
	if u == nil || r.h.ProxyCredentialsFile == "" {
		return
	}
	const key = "hub.proxy_credentials_file"
	text, ok := r.secret(key, r.h.ProxyCredentialsFile)
	if !ok {
		return
	}
	user, password, found := strings.Cut(text, ":")
	if !found || user == "" || strings.ContainsAny(text, "\r\n\x00") {
		r.bad(key, "want one line user:password in the file", nil)
		return
	}
	u.User = url.UserPassword(user, password)
}
