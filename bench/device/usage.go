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

// CPUOf is CPU of another process of this user, to a hundredth of a second (proc_pid_stat(5), fields 14 and 15).
func CPUOf(pid int) (time.Duration, error) {
	name := fmt.Sprintf("/proc/%d/stat", pid)
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])) // from field 3 on; field 2 may hold anything
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s: %d fields", name, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ is 100 on every architecture that we build for
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
func Resident() (Memory, error) { return ResidentOf(os.Getpid()) }

// ResidentOf returns the memory of a process.
func ResidentOf(pid int) (m Memory, err error) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	b, err := os.ReadFile(file)
	if err != nil {
		return m, err
	}
	for name, to := range map[string]*int64{"VmRSS:": &m.RSS, "RssAnon:": &m.Anon, "RssFile:": &m.File} {
		_, rest, _ := strings.Cut(string(b), "\n"+name)
		kib, _, found := strings.Cut(rest, " kB")
		if !found {
			return m, fmt.Errorf("%s: no %s", file, name)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(kib), 10, 64)
		if err != nil {
			return m, fmt.Errorf("%s: %s %w", file, name, err)
		}
		*to = n << 10
	}
	return m, nil
}
