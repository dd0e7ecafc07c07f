package c2d

import (
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"
)

// The buckets of the file.
const (
	bucketCommands = "commands" // id → record
	bucketDue      = "due"      // id → nothing: finished, still to be reported
	bucketAges     = "ages"     // age at the end, id → nothing: finished, in the order of forgetting
	bucketMeta     = "meta"

	metaVersion   = "version"
	metaAge       = "age"
	ledgerVersion = 1
)

// tables are the buckets within one transaction.
type tables struct {
	commands, due, ages, meta *bbolt.Bucket
	grown                     int64 // records more than before
}

func tablesOf(tx *bbolt.Tx) *tables {
	return &tables{
		commands: tx.Bucket([]byte(bucketCommands)),
		due:      tx.Bucket([]byte(bucketDue)),
		ages:     tx.Bucket([]byte(bucketAges)),
		meta:     tx.Bucket([]byte(bucketMeta)),
	}
}

// create makes the buckets of a new file.
func create(tx *bbolt.Tx) error {
	for _, name := range []string{bucketCommands, bucketDue, bucketAges, bucketMeta} {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return tx.Bucket([]byte(bucketMeta)).Put([]byte(metaVersion), []byte{ledgerVersion})
}

func (t *tables) write(r *record) error {
	v, err := encode(r)
	if err != nil {
		return err
	}
	if t.commands.Get([]byte(r.ID)) == nil {
		t.grown++
	}
	return t.commands.Put([]byte(r.ID), v)
}

func (t *tables) remove(id []byte) error {
	if t.commands.Get(id) != nil {
		t.grown--
	}
	return t.commands.Delete(id)
}

// purge forgets at most n of the commands that ended before the given age.
func (t *tables) purge(before time.Duration, n int) error {
	for range n {
		k, _ := t.ages.Cursor().First()
		if k == nil || before <= 0 || binary.BigEndian.Uint64(k) >= uint64(before) {
			return nil
		}
		if err := t.remove(k[8:]); err != nil {
			return err
		}
		if err := t.ages.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// grow lets the record age from now on.
func (t *tables) grow(r *record, now time.Duration) error {
	r.Age = max(now, 1)
	if err := t.write(r); err != nil {
		return err
	}
	return t.ages.Put(ageKey(r.Age, r.ID), []byte{})
}

// revive takes the record, which is about to run or to go, out of those that age.
func (t *tables) revive(r *record) error {
	if r.Age == 0 {
		return nil
	}
	k := ageKey(r.Age, r.ID)
	r.Age = 0
	return t.ages.Delete(k)
}

func ageKey(age time.Duration, id string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(age)), id...)
}
