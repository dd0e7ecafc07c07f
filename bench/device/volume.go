// Package device measures what a program does to the machine: the bytes that reach a block device, memory, processor time.
package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Volume is a place for a store whose written bytes can be counted: an ext4 of its own on a loop device, or a plain directory.
type Volume struct {
	// Dir is where to put files.
	Dir string
	// Source says where WrittenBytes counts.
	Source string

	image, stat string // of the loop device; "" for a plain directory
}

// Loop makes an ext4 with 4 KiB blocks of size bytes in the file dir/name.img, mounts it at dir/name (noatime, data=ordered) and
// returns it. The first warm bytes of the file are written, so that the file below does not grow while something is timed. It needs
// root; the error says what is missing.
func Loop(ctx context.Context, dir, name string, size, warm int64) (*Volume, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("loop device: only root can mount one")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	v := &Volume{
		Dir: filepath.Join(dir, name), image: filepath.Join(dir, name+".img"),
		Source: "sectors written to a loop device with an ext4 of its own, its journal included; the file below it is on " + medium(dir),
	}
	_ = unix.Unmount(v.Dir, 0) // left behind by a run that was killed; usually there is none
	if err := errors.Join(os.RemoveAll(v.image), os.MkdirAll(v.Dir, 0o700)); err != nil {
		return nil, err
	}
	if err := makeImage(v.image, size, warm); err != nil {
		return nil, fmt.Errorf("loop device: %w", err)
	}
	for _, cmd := range [][]string{
		// No table is left to be written in the background, and nothing is discarded below.
		{"mkfs.ext4", "-q", "-F", "-b", "4096", "-N", "4096", "-J", "size=64", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=1", v.image},
		{"mount", "-o", "loop,noatime,data=ordered", v.image, v.Dir},
	} {
		if out, err := exec.CommandContext(ctx, cmd[0], cmd[1:]...).CombinedOutput(); err != nil { //nolint:gosec // two commands, above
			return nil, fmt.Errorf("loop device: %s: %w: %s", cmd[0], err, bytes.TrimSpace(out))
		}
	}
	if err := v.find(); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// medium says whether what lies in dir is kept in memory only.
func medium(dir string) string {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC {
		return "a tmpfs, so that no time is a disk's"
	}
	return "the disk, which others may be using"
}

func makeImage(name string, size, warm int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	zeros := make([]byte, 4<<20)
	for at := int64(0); at < min(warm, size) && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros, at)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// find looks up the loop device that mount chose.
func (v *Volume) find() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == v.Dir {
			v.stat = filepath.Join("/sys/block", filepath.Base(f[0]), "stat")
			return nil
		}
	}
	return fmt.Errorf("loop device: %s is not mounted", v.Dir)
}

// Plain returns a volume in a plain directory, which counts less: the pages that this process dirtied.
func Plain(dir string) (*Volume, error) {
	return &Volume{Dir: dir, Source: "pages that the process wrote, without the file system's journal"}, os.MkdirAll(dir, 0o700)
}

const sector = 512

// WrittenBytes returns the bytes that reached the device since some moment in the past.
func (v *Volume) WrittenBytes() (int64, error) {
	if v.stat == "" {
		return ioWritten()
	}
	b, err := os.ReadFile(v.stat)
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b)) // Documentation/block/stat.rst: the seventh is sectors written
	if len(f) < 7 {
		return 0, fmt.Errorf("%s: only %d fields", v.stat, len(f))
	}
	n, err := strconv.ParseInt(f[6], 10, 64)
	return n * sector, err
}

// ioWritten reads write_bytes of this process (proc_pid_io(5)).
func ioWritten() (int64, error) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "write_bytes:"); ok {
			return strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
	}
	return 0, errors.New("/proc/self/io: no write_bytes")
}

// SyncFS writes out everything that the file system holds back, inodes included.
func (v *Volume) SyncFS() error {
	d, err := os.Open(v.Dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
}

// CommitJournal does what the journal's timer does after 5 s: an fsync of each file commits the inode changes that fdatasync left in
// memory, and writes nothing where there are none.
func (v *Volume) CommitJournal() error {
	return v.files(func(f *os.File) error { return f.Sync() })
}

// DropCaches makes the next read of every file come from the device, as far as this process may.
func (v *Volume) DropCaches() error {
	if err := v.SyncFS(); err != nil {
		return err
	}
	err := v.files(func(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) })
	if err != nil {
		return err
	}
	_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("1\n"), 0) // only root may; the files' own pages are gone already
	return nil
}

// files calls fn for every file of the volume. One that was removed meanwhile is none.
func (v *Volume) files(fn func(*os.File) error) error {
	return filepath.WalkDir(v.Dir, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || (err == nil && !e.Type().IsRegular()) {
			return nil
		}
		if err != nil {
			return err
		}
		f, err := os.Open(name) //nolint:gosec // nobody else writes here
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(fn(f), f.Close())
	})
}

// Close unmounts the loop device and removes its file, or empties the plain directory.
func (v *Volume) Close() error {
	if v.image == "" {
		return os.RemoveAll(v.Dir)
	}
	err := unix.Unmount(v.Dir, 0)
	if err != nil {
		return fmt.Errorf("unmount %s: %w", v.Dir, err)
	}
	return errors.Join(os.Remove(v.Dir), os.Remove(v.image))
}
