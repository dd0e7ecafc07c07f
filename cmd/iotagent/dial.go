package main

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"

	"iotagent/agent"
	"iotagent/config"
	"iotagent/internal/cli"
	"iotagent/internal/version"
	"iotagent/iothub"
	"iotagent/iothub/transport"
)

// transportFile is where the state directory has the way to the hub that worked.
const transportFile = "transport.json"

// dialFunc makes one connection to the hub.
type dialFunc func(ctx context.Context) (*iothub.Client, error)

// hubLink is the way to the hub.
type hubLink struct {
	dial        dialFunc
	time        agent.AskHub
	certificate *transport.CertificateFile // nil without one
}

// dialer reads the secrets, once, and returns the way to the hub: for telemetry alone where the program takes no commands.
func dialer(f *config.File, telemetryOnly bool, log *slog.Logger) (*hubLink, error) {
	o := configOptions()
	o.Logger = log
	cr, err := f.Hub.Credentials(o)
	if err != nil {
		return nil, cli.Mistakes(err, "")
	}
	to := &transport.Options{
		Mode: transport.Mode(f.Hub.Transport), AMQPSPort: cr.Port, WebSocketPort: f.Hub.WebSocketPort, TLS: cr.TLS, Proxy: proxyFor(f, &cr),
		KeepAlive: f.Hub.KeepAlive.Duration, StateFile: filepath.Join(f.Agent.StateDir, transportFile), Logger: log,
	}
	if cr.Certificate != nil {
		to.Certificate = cr.Certificate.Certificate
	}
	hub, _, err := net.SplitHostPort(cmp.Or(cr.Gateway, cr.Host))
	if err != nil { // it names no port
		hub = cmp.Or(cr.Gateway, cr.Host)
	}
	date := net.JoinHostPort(hub, strconv.Itoa(f.Hub.WebSocketPort))
	d := iothub.NewDialer(&iothub.Options{
		Host: cr.Host, Gateway: cr.Gateway, Port: cr.Port, DeviceID: cr.DeviceID, ModuleID: cr.ModuleID,
		Auth: iothub.Auth(cr.Auth), Key: cr.Key, SecondaryKey: cr.SecondaryKey, Token: cr.Token, TokenTTL: f.Hub.TokenTTL.Duration,
		HubTime: iothub.HubDate(date, cr.TLS, to.Proxy),
		Dial:    transport.New(to).Dial, KeepAlive: f.Hub.KeepAlive.Duration,
		Ordered: true, TelemetryOnly: telemetryOnly, UserAgent: "iotagent/" + version.String(), Logger: log,
	})
	return &hubLink{dial: d.Dial, time: iothub.HubClock(date, cr.TLS, to.Proxy), certificate: cr.Certificate}, nil
}

// proxyFor returns how a proxy is found: the configuration beats the environment.
func proxyFor(f *config.File, cr *config.Credentials) func(host string, port int) (*url.URL, error) {
	switch {
	case cr.Proxy != nil:
		return transport.FixedProxy(cr.Proxy)
	case f.Hub.Proxy == config.ProxyNone:
		return nil
	}
	return transport.EnvironmentProxy
}

// proxyHost returns the proxy on the way to the hub, without user and password; "" for none.
func proxyHost(f *config.File, cr *config.Credentials) (string, error) {
	find := proxyFor(f, cr)
	if find == nil {
		return "", nil
	}
	u, err := find(cmp.Or(cr.Gateway, cr.Host), cmp.Or(cr.Port, 5671))
	if err != nil || u == nil {
		return "", err
	}
	return u.Host, nil
}

// watch looks after the certificate until stop is called.
func (h *hubLink) watch(ctx context.Context) (stop func()) {
	if h.certificate == nil {
		return func() {}
	}
	wctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { h.certificate.Watch(wctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}
