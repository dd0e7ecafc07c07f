package transport

import (
	"net"
	"time"
)

// silence is how long a peer may leave bytes unacknowledged.
const silence = 30 * time.Second

// tcpDialer makes connections that notice a dead peer: idle ones by TCP's own probes, busy ones by what is not acknowledged. The probes come before
// ours, so that the kernel finds a dead path without waking anybody.
func tcpDialer(keepAlive time.Duration) *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: max(keepAlive*5/6, time.Second), Interval: 10 * time.Second, Count: 3},
		Control:         giveUpAfter(silence),
	}
}
