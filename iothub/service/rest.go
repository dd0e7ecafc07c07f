package service

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	apiVersion = "2021-04-12"
	// restTimeout is how long the REST API may take for one request.
	restTimeout = 60 * time.Second
	// restLife is how long the token of a request lives.
	restLife = 10 * time.Minute
	// maxAnswer is more than a thousand devices take.
	maxAnswer = 16 << 20
)

// request is one call of the hub's REST API.
type request struct {
	method, path string
	query        string // beyond the version of the API
	ifMatch      string // an etag or "*"; "" sends none
	body         any    // nil: none
	timeout      time.Duration
}

// rest makes a request, on a connection of its own, and decodes the answer into out, which may be nil.
func (c *Client) rest(ctx context.Context, r *request, out any) error {
	if r.timeout == 0 {
		r.timeout = restTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	req, err := c.newRequest(ctx, r)
	if err != nil {
		return err
	}
	transport := c.transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this hub alone
	}
	answer, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("https to %s: %w", c.o.HTTPS, plainCause(err))
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or is of no use
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("https to %s: read the answer: %w", c.o.HTTPS, err)
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return refused(answer, text)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("https to %s: the answer is not the JSON that an IoT Hub sends: %w", c.o.HTTPS, err)
	}
	return nil
}

func (c *Client) newRequest(ctx context.Context, r *request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		text := new(bytes.Buffer)
		enc := json.NewEncoder(text)
		enc.SetEscapeHTML(false) // what the caller wrote goes out as it is
		if err := enc.Encode(r.body); err != nil {
			return nil, fmt.Errorf("request: %w", err)
		}
		body = text
	}
	req, err := http.NewRequestWithContext(ctx, r.method, "https://"+c.o.HTTPS+r.path+"?api-version="+apiVersion+r.query, body)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	req.Host = c.host
	req.Header.Set("Authorization", c.hubSignature().token(restLife))
	req.Header.Set("Accept", "application/json")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	if r.ifMatch != "" {
		req.Header.Set("If-Match", `"`+r.ifMatch+`"`)
	}
	return req, nil
}

// transport goes through the proxy of the environment, as HTTPS does elsewhere, and expects the hub's name in the certificate wherever it dials.
func (c *Client) transport() *http.Transport {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSClientConfig: c.tls(c.host), TLSHandshakeTimeout: openTimeout}
	if c.o.Dial != nil {
		t.DialTLSContext = func(ctx context.Context, _, addr string) (net.Conn, error) { return c.o.Dial(ctx, addr) }
	}
	return t
}

// tls is the configuration for a server of this name.
func (c *Client) tls(name string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.o.TLS != nil {
		cfg = c.o.TLS.Clone()
	}
	cfg.ServerName = name
	return cfg
}

// plainCause takes the method and the address off an error of net/http.
func plainCause(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return err
}

// restError is a refusal by the REST API.
type restError struct {
	status  int
	name    string // such as DeviceNotFound
	code    int    // such as 404001
	message string
}

// Error returns the hub's words.
func (e *restError) Error() string {
	text := fmt.Sprintf("status %d", e.status)
	if e.name != "" {
		text += " " + e.name
	}
	if e.code != 0 {
		text += fmt.Sprintf(" (%d)", e.code)
	}
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// refused reads an answer that is an error, in either of the API's shapes, and wraps it with its sentinel.
func refused(answer *http.Response, body []byte) error {
	e := &restError{status: answer.StatusCode, name: answer.Header.Get("Iothub-Errorcode")}
	var outer struct{ Message string }
	var inner struct {
		ErrorCode int    `json:"errorCode"`
		Message   string `json:"message"`
	}
	if json.Unmarshal(body, &outer) == nil {
		e.message = outer.Message
	}
	if json.Unmarshal([]byte(e.message), &inner) == nil {
		e.code, e.message = inner.ErrorCode, inner.Message
	} else if name, text, ok := strings.Cut(strings.TrimPrefix(e.message, "ErrorCode:"), ";"); ok && (name == e.name || e.name == "") {
		e.name, e.message = name, text
	}
	if sentinel := e.sentinel(); sentinel != nil {
		return fmt.Errorf("%w: %w", sentinel, e)
	}
	return e
}

// sentinel says what the refusal means (Microsoft, "Understand and resolve Azure IoT Hub errors"); nil for nothing in particular.
func (e *restError) sentinel() error {
	switch e.status {
	case http.StatusForbidden:
		if e.code == quotaExceeded || e.name == "IotHubQuotaExceeded" {
			return ErrQuota
		}
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusNotFound:
		switch {
		case e.code == 404103 || e.name == "DeviceNotOnline":
			return ErrDeviceOffline
		case e.code == 404001 || e.name == "DeviceNotFound":
			return ErrDeviceUnknown
		}
		return ErrNotFound
	case http.StatusConflict:
		return ErrDeviceExists
	case http.StatusPreconditionFailed:
		return ErrChanged
	case http.StatusTooManyRequests:
		return ErrThrottled
	case http.StatusGatewayTimeout:
		return ErrMethodTimeout
	}
	return nil
}
