// Package store puts the outbox and what it is compared with behind one interface: a first-in, first-out queue whose puts and
// removals are durable when they return.
package store

import (
	"context"
	"fmt"
)

// Kind names a store.
type Kind string

// The kinds.
const (
	Outbox Kind = "outbox"
	Bolt   Kind = "bbolt"
	File   Kind = "file"
	SQLite Kind = "sqlite"
)

// Kinds returns all of them, the outbox first.
func Kinds() []Kind { return []Kind{Outbox, Bolt, File, SQLite} }

// Describe says what a kind is and with which options it runs.
func (k Kind) Describe() string {
	return map[Kind]string{
		Outbox: "package outbox, one lane, every message durable; drained by Next, Ack and Sync",
		Bolt:   "bbolt, a key for each message, FillPercent 1.0, freelist a map and synced, 16 MiB mapped at first; drained by deleting the range",
		File:   "an append file with length and CRC-32C for each message, written and fdatasynced; drained by reading on, the position in a head file with fdatasync",
		SQLite: "modernc.org/sqlite (pure Go), journal_mode WAL, synchronous FULL, page_size 4096, wal_autocheckpoint 1000, one connection, one INTEGER PRIMARY KEY and a BLOB; drained by DELETE of the range",
	}[k]
}

// Store is a durable queue.
type Store interface {
	// Put appends bodies in one commit; they are on the disk when it returns. Safe for concurrent use where Concurrent says so.
	Put(ctx context.Context, bodies [][]byte) error
	// Concurrent says that the store itself joins puts that come together into one commit.
	Concurrent() bool
	// Peek returns the length of the oldest body, 0 when there is none.
	Peek(ctx context.Context) (int, error)
	// Take reads and removes up to n bodies, oldest first, in one commit that is on the disk when it returns.
	Take(ctx context.Context, n int) (int, error)
	Close() error
}

// Open opens or makes the store of a kind in dir, with room for queued messages of some 200 bytes.
func Open(ctx context.Context, kind Kind, dir string, queued int) (Store, error) {
	switch kind {
	case Outbox:
		return openOutbox(dir, queued)
	case Bolt:
		return openBolt(dir)
	case File:
		return openFile(dir)
	case SQLite:
		return openSQLite(ctx, dir)
	}
	return nil, fmt.Errorf("no store called %q", kind)
}
