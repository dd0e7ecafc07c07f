//go:build !linux

package clock

import "time"

// boottime counts from now on: hubctl runs on other systems, iotagent does not.
func boottime() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

func synchronised() bool { return false }
