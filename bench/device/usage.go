package device

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the processor time that this process used, in user space and in the kernel.
func CPU() (time.Duration, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0, err
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), nil
}

// Memory is what a process has resident, in bytes: all, what is its own, and pages of files (mapped ones).
type Memory struct {
	RSS  int64 `json:"rss"`
	Anon int64 `json:"anon"`
	File int64 `json:"file"`
}

// Max returns the larger of each.
func (m Memory) Max(o Memory) Memory {
	return Memory{RSS: max(m.RSS, o.RSS), Anon: max(m.Anon, o.Anon), File: max(m.File, o.File)}
}

// Resident returns this process's memory (proc_pid_status(5)).
func Resident() (m Memory, err error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return m, err
	}
	for name, to := range map[string]*int64{"VmRSS:": &m.RSS, "RssAnon:": &m.Anon, "RssFile:": &m.File} {
		_, rest, _ := strings.Cut(string(b), "\n"+name)
		kib, _, found := strings.Cut(rest, " kB")
		if !found {
			return m, fmt.Errorf("/proc/self/status: no %s", name)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(kib), 10, 64)
		if err != nil {
			return m, fmt.Errorf("/proc/self/status: %s %w", name, err)
		}
		*to = n << 10
	}
	return m, nil
}
