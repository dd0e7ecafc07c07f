package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"iotagent/outbox"
)

// port is the way to the host.
type port struct {
	f     *os.File
	began time.Time

	mu  sync.Mutex
	err error

	asked   int
	answers *bufio.Reader
}

// ms returns how long the program has been running.
func (p *port) ms() int64 { return time.Since(p.began).Milliseconds() }

// say tells the host one line. The first failure is kept, for there is nobody else to tell.
func (p *port) say(format string, args ...any) {
	line := fmt.Appendf(nil, format+"\n", args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.f.Write(line); err != nil && p.err == nil {
		p.err = err
		fmt.Fprintln(os.Stderr, "guest: port:", err)
	}
}

// ask returns once the host knows that ids may be gone from now on. Only one goroutine may ask.
func (p *port) ask(ids []outbox.ID) error {
	if p.answers == nil {
		p.answers = bufio.NewReader(p.f)
	}
	p.asked++
	p.say("ask %d %s", p.asked, join(ids))
	answer, err := p.answers.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the host's answer: %w", err)
	}
	if want := fmt.Sprintf("%d\n", p.asked); answer != want {
		return fmt.Errorf("the host's answer is %q, not %q", answer, want)
	}
	return nil
}

func join(ids []outbox.ID) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(id.String())
	}
	return b.String()
}
