package chaos

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// checkLogs looks for what no log may hold.
func (w *world) checkLogs() {
	bad := regexp.MustCompile(`(?m)^.*(panic:|DATA RACE|fatal error:).*$`)
	for _, name := range []string{"agent.log", "hub.log"} {
		text, err := os.ReadFile(w.path(name))
		if err != nil {
			w.judge.note("%v", err)
		}
		if line := bad.Find(text); line != nil {
			w.judge.note("%s says %q", name, line)
		}
	}
}

// What a process may grow by after its first half minute, between the first quarter of its life and the last.
const (
	warmUp       = 30 * time.Second
	leastLife    = 2 * time.Minute
	growthKB     = 8 << 10
	growthFiles  = 8
	growthThread = 8
)

// checkMemory finds fault with an agent that grows.
func (w *world) checkMemory() {
	lives := map[int][]sample{}
	var pids []int
	for _, s := range w.watch.memory {
		if lives[s.pid] == nil {
			pids = append(pids, s.pid)
		}
		lives[s.pid] = append(lives[s.pid], s)
	}
	for _, pid := range pids {
		w.checkLife(pid, lives[pid])
	}
}

func (w *world) checkLife(pid int, all []sample) {
	first := slices.IndexFunc(all, func(s sample) bool { return s.at.Sub(all[0].at) >= warmUp })
	if first < 0 || all[len(all)-1].at.Sub(all[0].at) < leastLife {
		return
	}
	warm := all[first:]
	early, late := warm[:(len(warm)+3)/4], warm[len(warm)*3/4:]
	of := func(part []sample, f func(sample) int) int {
		values := make([]int, len(part))
		for i, s := range part {
			values[i] = f(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	for _, c := range []struct {
		what  string
		get   func(sample) int
		bound int
	}{
		{"anonymous memory in KiB", func(s sample) int { return s.anonKB }, growthKB},
		{"open files", func(s sample) int { return s.fds }, growthFiles},
		{"threads", func(s sample) int { return s.thr }, growthThread},
	} {
		a, b := of(early, c.get), of(late, c.get)
		w.say("process %d, %s: %s %d at first, %d at last", pid, warm[len(warm)-1].at.Sub(all[0].at).Round(time.Second), c.what, a, b)
		if b-a > c.bound {
			w.judge.note("process %d grew: %s %d at first, %d at last", pid, c.what, a, b)
		}
	}
}

// postMortem says all that helps to find out why.
func (w *world) postMortem(problems []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: everything lies in %s\nthe last words of iotagent:\n", w.seed, w.dir)
	for _, text := range w.watch.recent[max(0, len(w.watch.recent)-3):] {
		fmt.Fprintln(&b, "  "+text)
	}
	fmt.Fprintf(&b, "%d problems:\n", len(problems))
	for i, p := range problems {
		if i == 40 {
			fmt.Fprintf(&b, "  … and %d more\n", len(problems)-i)
			break
		}
		fmt.Fprintln(&b, "  "+p)
	}
	return b.String()
}

// autopsy ends an agent that is stuck so that its log shows where.
func (w *world) autopsy() {
	_ = w.hub.signal(syscall.SIGCONT)
	_ = w.agent.signal(syscall.SIGCONT) // it may be frozen
	w.watch.mu.Lock()
	words := slices.Clone(w.watch.recent)
	w.watch.mu.Unlock()
	_ = w.agent.end(syscall.SIGQUIT, true)
	if err := os.WriteFile(w.path("last-words"), []byte(strings.Join(words, "\n")), 0o600); err != nil {
		w.say("%v", err)
	}
}
