package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"time"

	"iotagent/bench/device"
	"iotagent/bench/store"
)

// memory is what a process of its own has resident that opens a store with so many queued, and how long that takes.
type memory struct {
	Store  store.Kind `json:"store"`
	Queued int        `json:"queued"`
	// DiskBytes is what the files take.
	DiskBytes int64 `json:"disk_bytes"`
	// Cold is with nothing of the files in memory. Both are medians by the time to open.
	Cold childReport `json:"cold"`
	Warm childReport `json:"warm"`
	// Drained is how many one more child took, which saw Warm.Draining.
	Drained int `json:"drained"`
}

// childReport is what the child prints.
type childReport struct {
	// OpenMillis is until Open returned, FirstMillis until the oldest message was read, too.
	OpenMillis  float64 `json:"open_ms"`
	FirstMillis float64 `json:"first_ms"`
	// Start is before Open, Opened after the first message, Draining the most of each while draining. All after garbage was given back
	// but the last.
	Start    device.Memory `json:"start"`
	Opened   device.Memory `json:"opened"`
	Draining device.Memory `json:"draining"`
	Drained  int           `json:"drained"`
}

const drainMost = 300_000

func (b *speedBench) memory(ctx context.Context, kind store.Kind, dir string, n int) (m memory, err error) {
	m = memory{Store: kind, Queued: n}
	if m.DiskBytes, err = diskBytes(dir); err != nil {
		return m, err
	}
	if m.Cold, err = b.openings(ctx, kind, dir, b.volume.DropCaches); err != nil {
		return m, err
	}
	if m.Warm, err = b.openings(ctx, kind, dir, func() error { return nil }); err != nil {
		return m, err
	}
	drained, err := b.child(ctx, kind, dir, min(n/2, drainMost))
	m.Drained, m.Warm.Draining = drained.Drained, drained.Draining
	return m, err
}

// openings returns the child of the median time to open.
func (b *speedBench) openings(ctx context.Context, kind store.Kind, dir string, before func() error) (childReport, error) {
	var all []childReport
	for range rounds {
		if err := before(); err != nil {
			return childReport{}, err
		}
		r, err := b.child(ctx, kind, dir, 0)
		if err != nil {
			return r, err
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(x, y childReport) int { return cmp.Compare(x.OpenMillis, y.OpenMillis) })
	return all[len(all)/2], nil
}

func (b *speedBench) child(ctx context.Context, kind store.Kind, dir string, drain int) (r childReport, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, "child", "-store", string(kind), "-dir", dir, "-drain", strconv.Itoa(drain), //nolint:gosec // itself
		"-queued", strconv.Itoa(b.queued[len(b.queued)-1]))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("child: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return r, json.Unmarshal(text, &r)
}

func childCommand(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("child", flag.ContinueOnError)
	kind, dir := f.String("store", "", ""), f.String("dir", "", "")
	queued, drain := f.Int("queued", 0, ""), f.Int("drain", 0, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	var r childReport
	var err error
	if r.Start, err = settled(); err != nil {
		return err
	}
	start := time.Now()
	s, err := store.Open(ctx, store.Kind(*kind), *dir, *queued)
	if err != nil {
		return err
	}
	r.OpenMillis = millis(time.Since(start))
	if n, err := s.Peek(ctx); err != nil || n == 0 {
		return errors.Join(err, errors.New("nothing queued"), s.Close())
	}
	r.FirstMillis = millis(time.Since(start))
	if r.Opened, err = settled(); err == nil {
		err = r.drain(ctx, s, *drain)
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// settled returns what is resident once garbage was given back.
func settled() (device.Memory, error) {
	debug.FreeOSMemory()
	return device.Resident()
}

func (r *childReport) drain(ctx context.Context, s store.Store, n int) error {
	r.Draining = r.Opened
	for r.Drained < n {
		k, err := s.Take(ctx, min(batch, n-r.Drained))
		if err != nil {
			return err
		}
		m, err := device.Resident()
		if err != nil {
			return err
		}
		r.Drained += k
		r.Draining = r.Draining.Max(m)
	}
	return nil
}

// diskBytes is what the files in dir take on the disk, holes excluded.
func diskBytes(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.New("no stat")
		}
		n += st.Blocks * 512
		return nil
	})
	return n, err
}
