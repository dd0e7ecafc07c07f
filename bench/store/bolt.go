package store

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

const boltBucket = "q"

type boltStore struct{ db *bbolt.DB }

func openBolt(dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(filepath.Join(dir, "queue.db"), 0o600, &bbolt.Options{
		PageSize: 4096, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 16 << 20,
	})
	if err != nil {
		return nil, err
	}
	if err := makeBucket(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &boltStore{db}, nil
}

// makeBucket commits only where there is none yet, so that opening a queue is no more than that.
func makeBucket(db *bbolt.DB) error {
	have := false
	err := db.View(func(tx *bbolt.Tx) error {
		have = tx.Bucket([]byte(boltBucket)) != nil
		return nil
	})
	if have || err != nil {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte(boltBucket))
		return err
	})
}

func (s *boltStore) Put(_ context.Context, bodies [][]byte) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(boltBucket))
		b.FillPercent = 1
		for _, body := range bodies {
			seq, err := b.NextSequence()
			if err != nil {
				return err
			}
			if err := b.Put(binary.BigEndian.AppendUint64(nil, seq), body); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *boltStore) Concurrent() bool { return false }

func (s *boltStore) Peek(context.Context) (n int, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		_, v := tx.Bucket([]byte(boltBucket)).Cursor().First()
		n = len(v)
		return nil
	})
	return n, err
}

func (s *boltStore) Take(_ context.Context, n int) (taken int, err error) {
	err = s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(boltBucket))
		b.FillPercent = 1
		keys := make([][]byte, 0, n)
		c := b.Cursor()
		for k, v := c.First(); k != nil && len(keys) < n; k, v = c.Next() {
			keys = append(keys, k)
			_ = append([]byte(nil), v...) // what is sent must outlive the transaction
		}
		for _, k := range keys {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		taken = len(keys)
		return nil
	})
	return taken, err
}

func (s *boltStore) Close() error { return s.db.Close() }
