package transport

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// closeLimit is how long an orderly end may take: on a dead network it never comes.
const closeLimit = time.Second

// conn is a connection to a hub: what Conn carries, TLS or a WebSocket, with the end in order.
type conn struct {
	net.Conn
	base   net.Conn // below TLS
	mode   Mode
	via    string
	host   string
	memory *memory
	proven atomic.Bool
	closed sync.Once
}

var _ Conn = (*conn)(nil)

// Via names the way.
func (c *conn) Via() string { return c.via }

// Proven makes the way one to be remembered. It may write a small file.
func (c *conn) Proven() {
	if !c.proven.Swap(true) {
		c.memory.worked(c.host, c.mode)
	}
}

// Close ends the connection in order, within a second.
func (c *conn) Close() error {
	c.closed.Do(func() {
		if !c.proven.Load() {
			c.memory.failed(c.host, c.mode)
		}
	})
	limit := time.AfterFunc(closeLimit, func() { _ = c.base.Close() }) // what still waits then fails
	defer limit.Stop()
	return c.Conn.Close()
}
