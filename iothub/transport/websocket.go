package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"

	"github.com/coder/websocket"
)

// subprotocol is the name of AMQP over WebSocket ("Advanced Message Queuing Protocol (AMQP) WebSocket Binding (WSB) Version 1.0", 2.1).
const subprotocol = "AMQPWSB10"

// upgrade puts a WebSocket on the connection.
func (d *Dialer) upgrade(ctx context.Context, c *conn, to Endpoint, port int) *Error {
	addr := net.JoinHostPort(to.Host, strconv.Itoa(port))
	ws, resp, err := websocket.Dial(ctx, d.webSocketURL(to, port), &websocket.DialOptions{ //nolint:bodyclose // it closes the body, or ws is it
		HTTPClient: &http.Client{
			Transport:     &exchange{ctx: ctx, conn: c.Conn},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Subprotocols: []string{subprotocol},
	})
	if err != nil {
		return failed("websocket", addr, refusal(resp, err))
	}
	if got := ws.Subprotocol(); got != subprotocol {
		_ = ws.CloseNow() // the reason follows
		return failed("websocket", addr, fmt.Errorf("the server answered with subprotocol %.40q, want %s", got, subprotocol))
	}
	ws.SetReadLimit(-1) // AMQP's own frame size bounds what is kept
	c.Conn = &stream{Conn: c.Conn, ws: ws, ctx: context.WithoutCancel(ctx)}
	return nil
}

func (d *Dialer) webSocketURL(to Endpoint, port int) string {
	host := to.Name
	if host == "" {
		host = to.Host
	}
	if port != 443 {
		host = net.JoinHostPort(host, strconv.Itoa(port))
	} else if net.ParseIP(host).To4() == nil && net.ParseIP(host) != nil {
		host = "[" + host + "]"
	}
	address := "wss://" + host + "/$iothub/websocket"
	if d.o.Certificate == nil {
		address += "?iothub-no-client-cert=true" // so that the hub does not ask for one
	}
	return address
}

// refusal says what a server answered in place of a WebSocket.
func refusal(resp *http.Response, err error) error {
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the server answered with HTTP status %d, not with a WebSocket; is something between here and the hub?", resp.StatusCode)
	}
	if request, ok := errors.AsType[*url.Error](err); ok {
		return request.Err // without the URL
	}
	return err
}

// stream is the bytes of the binary messages of a WebSocket. Deadlines are those of the connection below; once one has expired the stream is at its end.
// Read is for one goroutine, Write for another.
type stream struct {
	net.Conn
	ws      *websocket.Conn
	ctx     context.Context // is never done: deadlines and Close end what waits
	message io.Reader
	closing atomic.Bool // by us
}

// Read returns bytes of the message that is being read, or of the next.
func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			if err := s.next(); err != nil {
				return 0, err
			}
		}
		n, err := s.message.Read(p)
		if err == io.EOF { // the message's own end; that of a broken connection is wrapped
			s.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next waits for a message. The end is what it would be without a WebSocket.
func (s *stream) next() error {
	kind, r, err := s.ws.Reader(s.ctx)
	farewell := websocket.CloseStatus(err)
	switch {
	case err != nil && s.closing.Load():
		return net.ErrClosed
	case errors.Is(err, io.EOF), farewell == websocket.StatusNormalClosure, farewell == websocket.StatusGoingAway:
		return io.EOF
	case err != nil:
		return err
	}
	if kind != websocket.MessageBinary {
		return errors.New("the server sent text on a WebSocket that carries AMQP")
	}
	s.message = r
	return nil
}

// Write sends one message.
func (s *stream) Write(p []byte) (int, error) {
	if err := s.ws.Write(s.ctx, websocket.MessageBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close says goodbye and waits for the peer to do the same.
func (s *stream) Close() error {
	s.closing.Store(true)
	if err := s.ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		_ = s.ws.CloseNow() // closed already, but for an error before the farewell
	}
	return nil
}
