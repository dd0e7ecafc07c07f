package replay

import (
	"errors"
	"fmt"
	"strings"
)

var (
	errUnknown = errors.New("changes a file in a way that the replay does not know")
	errSize    = errors.New("a size that the replay does not take")
)

// step follows one call. Descriptors are let go when close begins, because another thread may get the number before close has ended,
// and everything else counts when it has succeeded.
func (d *Disk) step(s step) error {
	c := s.call
	if !s.end {
		if c.Name == "close" {
			fd, err := c.int(0)
			delete(d.fds, fd)
			return err
		}
		if fd, err := c.int(0); err == nil && fd == 1 && c.Name == "write" {
			data, err := c.bytes(1)
			d.Output = append(d.Output, Output{c.Begin, data})
			return err
		}
		return nil
	}
	switch c.Name {
	case "fsync", "fdatasync", "syncfs", "sync":
		return d.sync(c)
	case "close": // counted when it began; by now the number may be that of another file
		return nil
	}
	if c.Ret < 0 || c.Injected {
		return nil
	}
	switch c.Name {
	case "openat", "open", "creat", "mkdir", "mkdirat", "unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat",
		"symlink", "symlinkat", "truncate", "truncate64":
		return d.named(c)
	default:
		return d.onDescriptor(c)
	}
}

func (d *Disk) sync(c *Call) error {
	if c.Injected && c.Ret == 0 {
		d.Skipped++
		return nil
	}
	s := span{c.Begin, c.End, c.Ret == 0}
	if !s.ok {
		d.Failed = append(d.Failed, c.End)
	}
	d.Marks = append(d.Marks, c.Begin, c.End)
	if c.Name == "sync" || c.Name == "syncfs" {
		for _, n := range d.nodes {
			n.syncs = append(n.syncs, s)
		}
		return nil
	}
	fd, err := c.int(0)
	if h := d.fds[fd]; err == nil && h != nil {
		h.node.syncs = append(h.node.syncs, s)
	}
	return err
}

// onDescriptor follows the calls that name an open file. Descriptors that are not known are files elsewhere, pipes and the like.
func (d *Disk) onDescriptor(c *Call) error {
	fd, err := c.int(0)
	if err != nil {
		return err
	}
	h := d.fds[fd]
	if c.Name == "copy_file_range" { // its second descriptor is the one written to
		if fd, err = c.int(2); err != nil || d.fds[fd] == nil {
			return err
		}
		return errUnknown
	}
	if h == nil {
		return nil
	}
	switch c.Name {
	case "dup", "dup2", "dup3":
		d.fds[c.Ret] = h
	case "fcntl", "fcntl64":
		if strings.HasPrefix(c.text(1), "F_DUPFD") {
			d.fds[c.Ret] = h
		}
	case "lseek":
		h.pos = c.Ret
	case "write":
		return d.write(c, h)
	case "pwrite64":
		off, err := c.int(3)
		if err != nil {
			return err
		}
		return d.data(c, h.node, off)
	case "ftruncate", "ftruncate64":
		size, err := c.int(1)
		if err != nil {
			return err
		}
		return d.change(h.node, c, op{size: size})
	case "fallocate":
		return d.fallocate(c, h.node)
	default:
		return errUnknown
	}
	return nil
}

func (d *Disk) write(c *Call, h *handle) error {
	if h.append {
		h.pos = h.node.size
	}
	err := d.data(c, h.node, h.pos)
	h.pos += c.Ret
	return err
}

func (d *Disk) data(c *Call, n *node, off int64) error {
	b, err := c.bytes(1)
	if err != nil {
		return err
	}
	if c.Ret > int64(len(b)) {
		return fmt.Errorf("%d bytes of %d are in the trace", len(b), c.Ret)
	}
	if c.Ret == 0 {
		return nil
	}
	return d.change(n, c, op{off: off, data: b[:c.Ret]})
}

func (d *Disk) fallocate(c *Call, n *node) error {
	off, err1 := c.int(2)
	size, err2 := c.int(3)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	switch mode := c.text(1); mode {
	case "0":
		if off+size > n.size {
			return d.change(n, c, op{size: off + size})
		}
	case "FALLOC_FL_KEEP_SIZE":
	default:
		return fmt.Errorf("%w: %s", errUnknown, mode)
	}
	return nil
}

// named follows the calls that name a path.
func (d *Disk) named(c *Call) error {
	at, first := "AT_FDCWD", 0
	if strings.HasSuffix(c.Name, "at") || c.Name == "renameat2" {
		at, first = c.text(0), 1
	}
	path, err := c.bytes(first)
	if err != nil {
		return err
	}
	dir, name := d.resolve(at, path)
	switch c.Name {
	case "rename", "renameat", "renameat2":
		return d.rename(c, dir, name, first)
	}
	if dir == nil {
		return nil
	}
	switch c.Name {
	case "openat", "open":
		return d.open(c, dir, name, c.text(first+1))
	case "creat":
		return d.open(c, dir, name, "O_CREAT|O_TRUNC")
	case "mkdir", "mkdirat":
		return d.change(dir, c, op{name: name, child: d.newNode(true)})
	case "unlink", "unlinkat", "rmdir":
		return d.change(dir, c, op{gone: name})
	default:
		return errUnknown
	}
}

func (d *Disk) open(c *Call, dir *node, name, flags string) (err error) {
	n := dir.at(name)
	if n == nil {
		n = d.newNode(false)
		err = d.change(dir, c, op{name: name, child: n})
	} else if strings.Contains(flags, "O_TRUNC") && n.size > 0 {
		err = d.change(n, c, op{})
	}
	d.fds[c.Ret] = &handle{node: n, append: strings.Contains(flags, "O_APPEND")}
	return err
}

func (d *Disk) rename(c *Call, dir *node, name string, first int) error {
	at := "AT_FDCWD"
	if first == 1 {
		at = c.text(2)
	}
	path, err := c.bytes(2*first + 1)
	if err != nil {
		return err
	}
	to, toName := d.resolve(at, path)
	if dir == nil && to == nil {
		return nil
	}
	if dir != to || dir.entries[name] == nil || first == 1 && strings.Contains(c.text(4), "RENAME_EXCHANGE") {
		return errUnknown
	}
	return d.change(dir, c, op{gone: name, name: toName, child: dir.entries[name]})
}
