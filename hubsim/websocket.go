package hubsim

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"
)

// subprotocol is the name of AMQP over WebSocket ("Advanced Message Queuing Protocol (AMQP) WebSocket Binding (WSB) Version 1.0", 2.1).
const subprotocol = "AMQPWSB10"

// serveWebSocket turns an HTTP request into an AMQP connection. IoT Hub has MQTT at the same place, under a subprotocol that is not served here.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if !offers(r, subprotocol) {
		http.Error(w, "Sec-WebSocket-Protocol: want "+subprotocol, http.StatusBadRequest)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true, // pages of any origin may come: tokens decide, not cookies
	})
	if err != nil {
		s.opts.Logger.Info("websocket handshake failed", "remote", r.RemoteAddr, "error", err)
		return
	}
	nc := newWebSocketConn(r, ws)
	ctx, leave, err := s.admit(r.Context(), nc)
	if err != nil {
		_ = nc.Close() // refused: the peer sees that
		return
	}
	defer leave()
	s.serveConn(ctx, nc)
}

func offers(r *http.Request, name string) bool {
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(header, ",") {
			if strings.EqualFold(strings.TrimSpace(offered), name) {
				return true
			}
		}
	}
	return false
}

// webSocketConn is the byte stream in the binary messages of a WebSocket, cut anywhere.
type webSocketConn struct {
	net.Conn
	ws    *websocket.Conn
	state tls.ConnectionState
	raw   *rawConn
}

// rawKey is where a request's context has the connection below TLS.
type rawKey struct{}

// newWebSocketConn leaves it to the AMQP layer to end the connection, after a last word.
func newWebSocketConn(r *http.Request, ws *websocket.Conn) *webSocketConn {
	c := &webSocketConn{Conn: websocket.NetConn(context.WithoutCancel(r.Context()), ws, websocket.MessageBinary), ws: ws}
	if r.TLS != nil {
		c.state = *r.TLS
	}
	c.raw, _ = r.Context().Value(rawKey{}).(*rawConn) // absent in tests without a listener of ours
	return c
}

// ConnectionState returns what TLS below the WebSocket has agreed on.
func (c *webSocketConn) ConnectionState() tls.ConnectionState { return c.state }

// Close cuts the connection and waits for nobody.
func (c *webSocketConn) Close() error { return c.ws.CloseNow() }
