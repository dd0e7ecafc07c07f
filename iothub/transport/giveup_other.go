//go:build !linux

package transport

import (
	"syscall"
	"time"
)

// giveUpAfter does nothing where Linux's TCP_USER_TIMEOUT is missing: keepalives and the idle timeout notice a dead connection, later.
func giveUpAfter(time.Duration) func(network, address string, c syscall.RawConn) error { return nil }
