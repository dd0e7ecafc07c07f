package outbox_test

import (
	"context"
	"fmt"
	"os"

	"iotagent/outbox"
)

func Example() {
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	q, err := outbox.Open(dir, nil)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	if _, err := q.Put(ctx, outbox.Message{Lane: outbox.Normal, Body: []byte("21.5 °C")}); err != nil {
		panic(err) // errors.Is(err, outbox.ErrNotDurable): queued, but only in memory
	}
	changed := q.Changed() // before Next, so that no wake-up is lost
	entries, err := q.Next(100, 256<<10)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		fmt.Printf("%s: %s\n", e.ID.Lane, e.Body)
		if err := q.Ack(e.ID); err != nil { // once the hub has accepted it
			panic(err)
		}
	}
	_ = changed // wait for it here when there was nothing
	if err := q.Close(); err != nil {
		panic(err)
	}
	// Output: normal: 21.5 °C
}
