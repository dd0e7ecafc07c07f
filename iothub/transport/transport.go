// Package transport makes the byte stream to a hub: TLS over TCP on port 5671 or inside a WebSocket on port 443, through an HTTP proxy where there is
// one. It knows nothing of AMQP.
package transport

import (
	"context"
	"net"
)

// Endpoint is where to connect.
type Endpoint struct {
	// Host is whom to ask the name service for, at every connect anew; or an address.
	Host string
	// Port is 0 for the transport's own: 5671, or 443 for WebSocket.
	Port int
	// Name is what the server's certificate must be for; "" means Host.
	Name string
}

// Conn is a connection that Dialer made.
type Conn interface {
	net.Conn
	// Via names the way: "amqps" or "websocket", with " through PROXY" behind it where there is a proxy.
	Via() string
	// Proven says that the hub spoke AMQP on it: the way is worth being remembered. A connection that is closed without it counts as a failure.
	Proven()
}

// DialFunc makes a connection; what it returns may be a Conn. Its errors are *Error.
type DialFunc func(ctx context.Context, to Endpoint) (net.Conn, error)
