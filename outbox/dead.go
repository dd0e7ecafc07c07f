package outbox

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// DeadLetter is a message that the hub refused for good.
type DeadLetter struct {
	ID ID
	// Body is nil for a gap.
	Body     []byte
	Readings int
	Gap      *Gap
	// Reason is what Reject was told.
	Reason string
	// At is the wall time of the refusal, Put that of the put.
	At, Put time.Time
}

// rejection is a Reject that waits for its commit.
type rejection struct {
	key    key
	it     *item
	reason string
	at     int64
	value  []byte // the record of a message that is not on disk yet
	told   bool   // its Reject returned
	done   chan error
}

const (
	deadVersion = 1
	deadHeader  = 4 + 1 + 8 + keyLen + 2
	maxReason   = 1 << 10
)

// encodeDead returns CRC-32C, version, time, key, reason and the record as it stood in the queue.
func encodeDead(k key, at int64, reason string, value []byte) []byte {
	reason = reason[:min(len(reason), maxReason)]
	b := make([]byte, 4, deadHeader+len(reason)+len(value))
	b = append(b, deadVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = append(b, k.bytes()...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(reason)))
	b = append(append(b, reason...), value...)
	binary.BigEndian.PutUint32(b, checksum(b[4:]))
	return b
}

func decodeDead(b []byte) (DeadLetter, error) {
	if len(b) < deadHeader || b[4] != deadVersion || binary.BigEndian.Uint32(b) != checksum(b[4:]) {
		return DeadLetter{}, fmt.Errorf("dead letter: %w", errRecord)
	}
	k, n := b[13:13+keyLen], int(binary.BigEndian.Uint16(b[22:]))
	if deadHeader+n > len(b) {
		return DeadLetter{}, fmt.Errorf("dead letter: %w", errRecord)
	}
	r, err := decode(k, b[deadHeader+n:])
	if err != nil {
		return DeadLetter{}, err
	}
	e, err := r.entry(true)
	if err != nil {
		return DeadLetter{}, err
	}
	at := int64(binary.BigEndian.Uint64(b[5:]))
	return DeadLetter{
		ID: e.ID, Body: e.Body, Readings: e.Readings, Gap: e.Gap, Reason: string(b[deadHeader : deadHeader+n]),
		At: time.Unix(0, at).UTC(), Put: time.Unix(0, r.put).UTC(),
	}, nil
}

// reject moves a record and makes room for it.
func (t *txn) reject(b *batch, r *rejection) error {
	v := r.value
	if v == nil {
		if v = t.q.Get(r.key.bytes()); v == nil {
			return nil // lost to damage since it was handed out, and declared then
		}
		v = append([]byte{}, v...) // the page it lies in changes below
		if err := t.remove(r.key); err != nil {
			return err
		}
	}
	t.st.deadNext++
	letter := encodeDead(r.key, r.at, r.reason, v)
	if err := t.dead.Put(binary.BigEndian.AppendUint64(nil, t.st.deadNext), letter); err != nil {
		return err
	}
	t.st.dead++
	t.st.deadBytes += uint64(len(letter))
	c := t.dead.Cursor()
	for t.st.dead > max(b.maxDead, 1) || t.st.deadBytes > b.maxSize && t.st.dead > 1 {
		k, old := c.First()
		if k == nil {
			t.st.dead, t.st.deadBytes = 0, 0
			break
		}
		t.st.dead--
		t.st.deadBytes -= min(t.st.deadBytes, uint64(len(old)))
		t.st.deadDropped++
		if err := t.dead.Delete(append([]byte{}, k...)); err != nil {
			return err
		}
	}
	return nil
}

// DeadLetters returns up to limit letters, oldest first. Damaged ones are left out.
func (o *Outbox) DeadLetters(limit int) ([]DeadLetter, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, ErrClosed
	}
	if o.file == nil {
		return nil, fmt.Errorf("%w: the file cannot be read: %s", ErrNotDurable, o.degraded)
	}
	var out []DeadLetter
	err := o.file.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketDead)).Cursor()
		for k, v := c.First(); k != nil && len(out) < limit; k, v = c.Next() {
			if d, err := decodeDead(v); err == nil {
				out = append(out, d)
			}
		}
		return nil
	})
	o.noteLocked(err)
	return out, err
}
