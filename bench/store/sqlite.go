package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

type sqliteStore struct {
	db     *sql.DB
	insert *sql.Stmt
}

func openSQLite(ctx context.Context, dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	pragmas := url.Values{"_pragma": {"page_size(4096)", "journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(1000)"}}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "queue.sqlite")+"?"+pragmas.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	s := &sqliteStore{db: db}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// prepare makes the table and makes sure that the options are what Describe says.
func (s *sqliteStore) prepare(ctx context.Context) (err error) {
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2"} {
		var got string
		if err := s.db.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("sqlite: %s is %s, want %s", pragma, got, want)
		}
	}
	if _, err := s.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS q (id INTEGER PRIMARY KEY, body BLOB NOT NULL)"); err != nil {
		return err
	}
	s.insert, err = s.db.PrepareContext(ctx, "INSERT INTO q (body) VALUES (?)")
	return err
}

func (s *sqliteStore) Put(ctx context.Context, bodies [][]byte) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		insert := tx.StmtContext(ctx, s.insert)
		for _, b := range bodies {
			if _, err := insert.ExecContext(ctx, b); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *sqliteStore) Concurrent() bool { return false }

func (s *sqliteStore) Peek(ctx context.Context) (n int, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT length(body) FROM q ORDER BY id LIMIT 1").Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, err
}

func (s *sqliteStore) Take(ctx context.Context, n int) (taken int, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		last, err := s.read(ctx, tx, n, &taken)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM q WHERE id <= ?", last)
		return err
	})
	return taken, err
}

func (s *sqliteStore) read(ctx context.Context, tx *sql.Tx, n int, taken *int) (last int64, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, body FROM q ORDER BY id LIMIT ?", n)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&last, &body); err != nil {
			return 0, err
		}
		*taken++
	}
	return last, rows.Err()
}

func (s *sqliteStore) update(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (s *sqliteStore) Close() error {
	if s.insert == nil {
		return s.db.Close()
	}
	return errors.Join(s.insert.Close(), s.db.Close())
}
