package program

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
)

// Head keeps the first Max bytes written to it. The mutex is for a descendant's output that still arrives when it is read.
type Head struct {
	Max int

	mu   sync.Mutex
	buf  bytes.Buffer
	more int // bytes that were let go
}

// Write implements io.Writer and takes everything: a program must not fail for its talk.
func (h *Head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	keep := min(len(p), h.Max-h.buf.Len())
	h.buf.Write(p[:keep])
	h.more += len(p) - keep
	return len(p), nil
}

// Cut reports whether more was written than was kept.
func (h *Head) Cut() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.more > 0
}

// String returns JSON compacted, other text trimmed and made valid UTF-8.
func (h *Head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.more == 0 && json.Valid(h.buf.Bytes()) {
		var out bytes.Buffer
		if err := json.Compact(&out, h.buf.Bytes()); err == nil {
			return strings.ToValidUTF8(out.String(), "\uFFFD")
		}
	}
	s := text(h.buf.String())
	if h.more > 0 {
		s += "…"
	}
	return s
}

// Tail keeps the last Max bytes written to it.
type Tail struct {
	Max int

	mu  sync.Mutex
	buf []byte
	cut bool
}

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	p = p[max(0, n-t.Max):]
	over := max(0, len(t.buf)+len(p)-t.Max)
	t.cut = t.cut || over > 0 || len(p) < n
	t.buf = append(t.buf[:0], append(t.buf[over:], p...)...)
	return n, nil
}

// String returns what was kept, trimmed and made valid UTF-8.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := text(string(t.buf))
	if t.cut {
		s = "…" + s
	}
	return s
}

func text(s string) string { return strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD")) }
