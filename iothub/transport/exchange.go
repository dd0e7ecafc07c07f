package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"time"
)

// maxHeader bounds an answer's head.
const maxHeader = 64 << 10

// exchange is an http.RoundTripper for one request on a connection that is there already. The body of an answer that switches protocols is the
// connection itself.
type exchange struct {
	ctx  context.Context // bounds the exchange
	conn net.Conn
}

// RoundTrip sends the request and reads the head of the answer.
func (e *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, r, err := e.do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = &body{Conn: e.conn, r: r}
	}
	return resp, nil
}

// do is RoundTrip, and returns where to read on.
func (e *exchange) do(req *http.Request) (resp *http.Response, rest *bufio.Reader, err error) {
	interrupted := context.AfterFunc(e.ctx, func() { _ = e.conn.SetDeadline(time.Unix(1, 0)) }) // reads and writes fail at once
	defer func() {
		if !interrupted() {
			err = fmt.Errorf("no answer: %w", context.Cause(e.ctx))
		}
	}()
	if err := req.Write(e.conn); err != nil {
		return nil, nil, err
	}
	head := &io.LimitedReader{R: e.conn, N: maxHeader}
	rest = bufio.NewReader(head)
	resp, err = http.ReadResponse(rest, req)
	switch {
	case err != nil && head.N <= 0:
		return nil, nil, errors.New("the head of the answer is too long")
	case err != nil:
		return nil, nil, err
	}
	head.N = math.MaxInt64
	return resp, rest, nil
}

// body is a connection of which something may have been read too early.
type body struct {
	net.Conn
	r *bufio.Reader
}

// Read reads on behind the head.
func (b *body) Read(p []byte) (int, error) { return b.r.Read(p) }
