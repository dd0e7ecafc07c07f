package outbox_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

type safeLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *safeLog) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *safeLog) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}
