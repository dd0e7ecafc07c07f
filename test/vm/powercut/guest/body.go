package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// mark begins every body, and is found in no other message.
const mark = "powercut-"

// body makes the body number n of a producer. Its length and all of its bytes follow from the two.
func body(producer, n uint64) []byte {
	r := rand.New(rand.NewPCG(producer, n)) //nolint:gosec // G404: it must be the same every time, not secret
	size := 64 + r.IntN(600)
	if r.IntN(8) == 0 {
		size = 4000 + r.IntN(8000)
	}
	b := fmt.Appendf(make([]byte, 0, size+64), mark+"%d-%d ", producer, n)
	for len(b) < size {
		b = strconv.AppendUint(b, r.Uint64(), 36)
	}
	return b
}

// parse finds a body at the end of what lies in the outbox, with whatever header in front, and tells whether it is right. A message of
// readings counts as a body of producer 0, with the time of its newest reading in Unix milliseconds for a number.
func parse(b []byte) (producer, n uint64, ok bool) {
	if i := bytes.Index(b, []byte(mark)); i >= 0 {
		if _, err := fmt.Fscanf(bytes.NewReader(b[i:]), mark+"%d-%d ", &producer, &n); err != nil {
			return 0, 0, false
		}
		return producer, n, bytes.Equal(b[i:], body(producer, n))
	}
	i := bytes.Index(b, []byte(`[{"sensor":`))
	if i < 0 {
		return 0, 0, false
	}
	var readings []struct{ Time time.Time }
	if err := json.Unmarshal(b[i:], &readings); err != nil {
		return 0, 0, false
	}
	for _, r := range readings {
		n = max(n, uint64(r.Time.UnixMilli()))
	}
	return 0, n, n > 0
}
