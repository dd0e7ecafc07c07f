package replay_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/test/faults/replay"
)

func TestParse(t *testing.T) {
	at := time.Unix(1795389160, 196739000)
	stamp := "1795389160.196739 "
	word := func(s string) replay.Arg { return replay.Arg{Text: s} }
	text := func(s string) replay.Arg { return replay.Arg{Data: []byte(s), Quoted: true} }
	tests := map[string]struct {
		in   string
		want []*replay.Call
	}{
		"nothing": {"", nil},
		"one": {"7 " + stamp + `openat(AT_FDCWD, "\x2f\x61", O_RDWR|O_CREAT, 0600) = 3` + "\n", []*replay.Call{
			{At: at, Name: "openat", Args: []replay.Arg{word("AT_FDCWD"), text("/a"), word("O_RDWR|O_CREAT"), word("0600")}, Ret: 3},
		}},
		"padded": {"7 " + stamp + "close(3)        = 0\n", []*replay.Call{{At: at, Name: "close", Args: []replay.Arg{word("3")}}}},
		"failed, injected": {"7 " + stamp + "fsync(3) = -1 EIO (Input/output error) (INJECTED)\n", []*replay.Call{
			{At: at, Name: "fsync", Args: []replay.Arg{word("3")}, Ret: -1, Errno: "EIO", Injected: true},
		}},
		"left out": {"7 " + stamp + "fsync(3) = 0 (INJECTED)\n", []*replay.Call{{At: at, Name: "fsync", Args: []replay.Arg{word("3")}, Injected: true}}},
		"two threads": {
			"7 " + stamp + `pwrite64(3, "\x28\x29", 2, 8192 <unfinished ...>` + "\n8 " + stamp + "sync( <unfinished ...>\n" +
				"7 " + stamp + "<... pwrite64 resumed>) = 2\n8 " + stamp + "+++ killed by SIGKILL +++\n",
			[]*replay.Call{
				{End: 2, At: at, Name: "pwrite64", Args: []replay.Arg{word("3"), text("()"), word("2"), word("8192")}, Ret: 2},
				{Begin: 1, End: math.MaxInt, At: at, Name: "sync"},
			},
		},
		"ended in it":   {"7 " + stamp + "fsync(3) = ?\n", []*replay.Call{{End: math.MaxInt, At: at, Name: "fsync", Args: []replay.Arg{word("3")}}}},
		"let go in it":  {"7 " + stamp + "fsync(3 <detached ...>\n", []*replay.Call{{End: math.MaxInt, At: at, Name: "fsync", Args: []replay.Arg{word("3")}}}},
		"last line cut": {"7 " + stamp + "fsync(3) = 0", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := replay.Parse(strings.NewReader(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, in := range []string{
		"7", "7 x", "7 1.0 fsync", "7 1.0 fsync(3)", "7 1.0 fsync(3) = x", "7 y fsync(3) = 0", "7 1.0 <... fsync resumed>) = 0", `7 1.0 write(1, "\x41`,
		`7 1.0 write(1, "A", 1) = 1`, `7 1.0 write(1, "\x41"..., 9) = 9`, `7 1.0 write(1, "\xzz", 1) = 1`,
	} {
		if _, err := replay.Parse(strings.NewReader(in + "\n")); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzParse looks for traces that crash the parser or the history made of what it returns.
func FuzzParse(f *testing.F) {
	f.Add("7 1.0 openat(AT_FDCWD, \"\\x2f\\x61\", O_CREAT) = 3\n7 1.0 pwrite64(3, \"\\x41\", 1, 0) = 1\n7 1.0 fsync(3) = 0\n")
	f.Add("7 1.0 mkdirat(AT_FDCWD, \"\\x2f\\x61\", 0700) = 0\n7 1.0 renameat(AT_FDCWD, \"\\x2f\\x61\", AT_FDCWD, \"\\x2f\\x62\") = 0\n")
	f.Add("7 1.0 fallocate(3, 0, 0, 5 <unfinished ...>\n8 1.0 dup(3) = 4\n7 1.0 <... fallocate resumed>) = 0\n")
	f.Fuzz(func(t *testing.T, in string) {
		calls, err := replay.Parse(strings.NewReader(in))
		if err != nil {
			return
		}
		for _, c := range calls {
			if strings.Contains("fallocate ftruncate64 pwrite64 lseek", c.Name) { // sizes would only use up the memory
				return
			}
		}
		d, err := replay.NewDisk(calls, "/")
		if err != nil {
			return
		}
		for cut := range d.Lines() + 1 {
			d.Cut(cut, replay.Policy{Chance: 1})
			d.TimeOf(cut)
		}
	})
}
