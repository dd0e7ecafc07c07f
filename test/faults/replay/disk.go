package replay

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Disk is the history of everything below one folder, and what the process wrote to its standard output.
type Disk struct {
	root  *node
	path  string
	nodes []*node
	fds   map[int64]*handle
	lines int
	times []time.Time // of the calls, by line; for TimeOf
	// Output is what was written to descriptor 1.
	Output []Output
	// Marks are lines at which something was synced, made, renamed or removed: where a cut may tell most.
	Marks []int
	// Failed are the lines at which a sync ended with an error. Skipped counts the syncs that returned 0 without being done.
	Failed  []int
	Skipped int
}

// Output is one write to the standard output. What it tells had happened when line Begin was reached.
type Output struct {
	Begin int
	Data  []byte
}

// node is a file or a directory.
type node struct {
	dir     bool
	size    int64            // of a file, at present
	entries map[string]*node // of a directory, at present
	ops     []*op
	syncs   []span
}

type span struct {
	begin, end int
	ok         bool
}

// op changed a node: data written (data), a size set (size ≥ 0 without data), or, in a directory, an entry put (child) or taken away,
// where a rename does both.
type op struct {
	begin, end int
	durable    int // the line from which on it is on the disk for certain
	off        int64
	data       []byte
	size       int64
	gone, name string
	child      *node
}

// handle is an open file; descriptors that were duplicated share it.
type handle struct {
	node   *node
	pos    int64
	append bool
}

type step struct {
	line int
	end  bool
	call *Call
}

// NewDisk makes the history of the folder root, an absolute path. The folder must have existed, empty, before the trace began. A call that changes files in a
// way that it does not know is an error.
func NewDisk(calls []*Call, root string) (*Disk, error) {
	d := &Disk{path: filepath.Clean(root), fds: map[int64]*handle{}}
	d.root = d.newNode(true)
	var steps []step
	for _, c := range calls {
		steps = append(steps, step{c.Begin, false, c})
		if c.End != never {
			steps = append(steps, step{c.End, true, c})
			d.lines = max(d.lines, c.End+1)
		}
		d.lines = max(d.lines, c.Begin+1)
	}
	slices.SortStableFunc(steps, func(a, b step) int { return a.line - b.line })
	d.times = make([]time.Time, d.lines)
	for _, s := range steps {
		if !s.end {
			d.times[s.line] = s.call.At
		}
		if err := d.step(s); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", s.line+1, s.call.Name, err)
		}
	}
	for _, n := range d.nodes {
		n.settle()
	}
	return d, nil
}

func (d *Disk) newNode(dir bool) *node {
	n := &node{dir: dir}
	if dir {
		n.entries = map[string]*node{}
	}
	d.nodes = append(d.nodes, n)
	return n
}

// Lines is how many lines the trace has: cuts lie in 0 to Lines.
func (d *Disk) Lines() int { return d.lines }

// TimeOf returns when the last call before a cut started, the zero time when there is none.
func (d *Disk) TimeOf(cut int) time.Time {
	for cut = min(cut, d.lines); cut > 0; cut-- {
		if at := d.times[cut-1]; !at.IsZero() {
			return at
		}
	}
	return time.Time{}
}

// settle finds out from when on each change was on the disk for certain: when a sync that began after it ended has succeeded. Data that was there
// when a sync failed is never certain again: Linux calls its pages clean (https://lwn.net/Articles/752063/). Entries of directories go through the
// file system's own journal and do not have that trouble.
func (n *node) settle() {
	slices.SortFunc(n.syncs, func(a, b span) int { return a.end - b.end })
	for _, o := range n.ops {
		o.durable = never
		for _, s := range n.syncs {
			if s.ok && s.begin > o.end {
				o.durable = s.end
				break
			}
			if !s.ok && !n.dir && s.end > o.begin {
				break
			}
		}
	}
}

// resolve finds the directory and the name in it that a path means, or nil for what lies elsewhere.
func (d *Disk) resolve(at string, path []byte) (*node, string) {
	dir, p := d.root, string(path)
	if strings.HasPrefix(p, "/") {
		rel, err := filepath.Rel(d.path, p)
		if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			return nil, ""
		}
		p = rel
	} else {
		var fd int64
		if _, err := fmt.Sscan(at, &fd); err != nil || d.fds[fd] == nil || !d.fds[fd].node.dir {
			return nil, ""
		}
		dir, p = d.fds[fd].node, filepath.Clean(p)
	}
	for {
		first, rest, more := strings.Cut(p, "/")
		if !more {
			return dir, p
		}
		if dir = dir.entries[first]; dir == nil || !dir.dir {
			return nil, ""
		}
		p = rest
	}
}

func (n *node) at(name string) *node {
	if name == "." {
		return n
	}
	return n.entries[name]
}

// largest is the size of a file over which a trace is taken for nonsense.
const largest = 1 << 30

// change notes what a call did to a node.
func (d *Disk) change(n *node, c *Call, o op) error {
	if max(o.size, o.off) > largest || min(o.size, o.off) < 0 {
		return errSize
	}
	o.begin, o.end = c.Begin, c.End
	n.ops = append(n.ops, &o)
	if n.dir {
		if o.gone != "" {
			delete(n.entries, o.gone)
		}
		if o.child != nil {
			n.entries[o.name] = o.child
		}
		d.Marks = append(d.Marks, c.End)
		return nil
	}
	if o.data != nil {
		n.size = max(n.size, o.off+int64(len(o.data)))
	} else {
		n.size = o.size
	}
	return nil
}
