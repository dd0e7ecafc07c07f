// Package replay turns what strace saw of a process into what a disk may hold after a power cut at any point of its run.
//
// Parse reads the trace, NewDisk makes the history of the files below one folder of it, and Disk.Cut draws one of the states that a disk
// may be left in: what was synced is there; of the rest each page or sector, size and directory entry is there or not. See
// https://man7.org/linux/man-pages/man2/fsync.2.html for what a sync promises, and fsync(2) on a directory for its entries.
package replay

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Flags are the options of strace that Parse understands the output of; -o FILE and the program have to be added.
func Flags() []string {
	return []string{
		"-f", "-qq", "-xx", "-ttt", "--seccomp-bpf", "-s", "33554432", "-e", "signal=none", "-e", "trace=" +
			"openat,?open,?creat,close,?dup,?dup2,?dup3,?fcntl,?fcntl64,?lseek,?_llseek,write,writev,pwrite64,?pwritev,?pwritev2,copy_file_range,?sendfile," +
			"?sendfile64,ftruncate,?ftruncate64,?truncate,?truncate64,fallocate,fdatasync,fsync,syncfs,sync,?rename,renameat,?renameat2,?link," +
			"linkat,?symlink,symlinkat,?unlink,unlinkat,?rmdir,?mkdir,mkdirat",
	}
}

// never is the position of what did not happen in the trace.
const never = math.MaxInt

// Call is one system call. Begin and End are the numbers of the lines in which it started and ended, the same for most; End is past
// every line when it never did.
type Call struct {
	Begin, End int
	At         time.Time // when it started
	Name       string
	Args       []Arg
	Ret        int64
	Errno      string // "EIO"; empty when it succeeded
	Injected   bool   // by strace: the kernel never saw it
}

// Arg is an argument: the text that strace printed, or, when it is a string, its bytes.
type Arg struct {
	Text   string
	Data   []byte
	Quoted bool
}

// Parse reads the output of `strace -f -xx -ttt -o`, and returns the calls in the order in which they started.
func Parse(r io.Reader) ([]*Call, error) {
	var calls []*Call
	pending := map[string]*Call{}
	b := bufio.NewReaderSize(r, 1<<20)
	for line := 0; ; line++ {
		text, err := b.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) { // a last line without an end was not written in full
				return calls, nil
			}
			return nil, err
		}
		c, err := parseLine(strings.TrimSuffix(text, "\n"), line, pending)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %.120q", line+1, err, text)
		}
		if c != nil {
			calls = append(calls, c)
		}
	}
}

// parseLine returns the call that starts in the line, if one does, and ends the pending one that ends in it.
func parseLine(text string, line int, pending map[string]*Call) (*Call, error) {
	pid, text, _ := strings.Cut(strings.TrimLeft(text, " "), " ")
	stamp, text, ok := strings.Cut(strings.TrimLeft(text, " "), " ")
	if !ok {
		return nil, errors.New("no time")
	}
	if strings.HasPrefix(text, "+++ ") || strings.HasPrefix(text, "--- ") {
		return nil, nil //nolint:nilnil // the end of a thread, or a signal, starts no call
	}
	if rest, ok := strings.CutPrefix(text, "<... "); ok {
		name, rest, ok := strings.Cut(rest, " resumed>")
		c := pending[pid]
		if !ok || c == nil || c.Name != name {
			return nil, errors.New("the end of a call that did not start")
		}
		delete(pending, pid)
		return nil, c.finish(rest, line)
	}
	at, err := parseStamp(stamp)
	if err != nil {
		return nil, err
	}
	c := &Call{Begin: line, End: never, At: at}
	name, rest, ok := strings.Cut(text, "(")
	if !ok {
		return nil, errors.New("no call")
	}
	c.Name = name
	for _, end := range []string{" <unfinished ...>", " <detached ...>"} {
		if rest, ok := strings.CutSuffix(rest, end); ok {
			pending[pid] = c
			_, err := c.arguments(rest)
			return c, err
		}
	}
	return c, c.finish(rest, line)
}

func parseStamp(s string) (time.Time, error) {
	seconds, micros, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	us, err := strconv.ParseInt(micros, 10, 64)
	return time.Unix(sec, us*1000), err
}

// finish reads the arguments that are still to come, and the result.
func (c *Call) finish(text string, line int) error {
	rest, err := c.arguments(text)
	if err != nil {
		return err
	}
	_, result, ok := strings.Cut(rest, "= ")
	if !ok {
		return errors.New("no result")
	}
	value, rest, _ := strings.Cut(result, " ")
	if value == "?" { // the process ended in it
		return nil
	}
	if c.Ret, err = strconv.ParseInt(value, 0, 64); err != nil {
		return err
	}
	c.End = line
	if c.Ret < 0 {
		c.Errno, _, _ = strings.Cut(rest, " ")
	}
	c.Injected = strings.HasSuffix(rest, "(INJECTED)")
	return nil
}

// arguments reads up to the closing bracket and returns what is behind it.
func (c *Call) arguments(s string) (rest string, err error) {
	for {
		s = strings.TrimLeft(s, ", ")
		switch {
		case s == "":
			return "", nil
		case s[0] == ')':
			return s[1:], nil
		case s[0] == '"':
			end := strings.IndexByte(s[1:], '"') + 2
			if end < 2 {
				return "", errors.New("a string without an end")
			}
			data, err := unhex(s[1 : end-1])
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(s[end:], "...") {
				return "", errors.New("a string was cut short")
			}
			c.Args = append(c.Args, Arg{Data: data, Quoted: true})
			s = s[end:]
		default:
			end := strings.IndexAny(s, ",)")
			if end < 0 {
				end = len(s)
			}
			c.Args = append(c.Args, Arg{Text: s[:end]})
			s = s[end:]
		}
	}
}

// unhex reads \x41\x42.
func unhex(s string) ([]byte, error) {
	if len(s)%4 != 0 {
		return nil, errors.New("a string that is not in hexadecimal")
	}
	out := make([]byte, len(s)/4)
	for i := range out {
		if s[4*i] != '\\' || s[4*i+1] != 'x' {
			return nil, errors.New("a string that is not in hexadecimal")
		}
		if _, err := hex.Decode(out[i:i+1], []byte{s[4*i+2], s[4*i+3]}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// int returns an argument as a number.
func (c *Call) int(i int) (int64, error) {
	if i >= len(c.Args) {
		return 0, fmt.Errorf("%s: argument %d is missing", c.Name, i)
	}
	return strconv.ParseInt(c.Args[i].Text, 0, 64)
}

func (c *Call) bytes(i int) ([]byte, error) {
	if i >= len(c.Args) || !c.Args[i].Quoted {
		return nil, fmt.Errorf("%s: argument %d is not a string", c.Name, i)
	}
	return c.Args[i].Data, nil
}

func (c *Call) text(i int) string {
	if i >= len(c.Args) {
		return ""
	}
	return c.Args[i].Text
}
