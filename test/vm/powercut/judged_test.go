package powercut

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// e and f are two epochs, in this order.
const (
	e = "00000000000000ee"
	f = "00000000000000ff"
)

// A judge that lets everything pass would be no judge: each kind of wrong must be seen, and nothing in what is right.
func TestLedger(t *testing.T) {
	tests := map[string]struct {
		said  string // before the cut
		found string // after it
		want  sums
		wrong string // part of the one complaint
	}{
		"all there": {
			said:  "put 5 true 7 0 E-normal-1 E-normal-2",
			found: "item E-normal-1 7 0; item E-normal-2 7 1",
			want:  sums{confirmed: 2, found: 2},
		},
		"more than was told": {
			said:  "put 5 true 7 0 E-normal-1",
			found: "item E-normal-1 7 0; item E-normal-2 7 1",
			want:  sums{confirmed: 1, found: 2},
		},
		"durable, lost": {
			said:  "put 5 true 7 0 E-normal-1 E-normal-2; now 6",
			found: "item E-normal-1 7 0",
			want:  sums{confirmed: 2, found: 1, lost: 1},
			wrong: "E-normal-2 was confirmed (durable true, 1 ms before the cut) and is lost",
		},
		"readings lost within max_loss and declared": {
			said:  "put 900 false 7 0 E-normal-1; now 1899",
			found: "gap F-normal-1 E normal 0 0 0 unclean-stop",
			want:  sums{confirmed: 1, found: 1, unwritten: 1},
		},
		"readings lost within max_loss, not declared": {
			said:  "put 900 false 7 0 E-normal-1; now 1899",
			want:  sums{confirmed: 1, unwritten: 1},
			wrong: "no gap says so",
		},
		"readings lost that were older": {
			said:  "put 900 false 7 0 E-normal-1; now 1901",
			found: "gap F-normal-1 E normal 0 0 0 unclean-stop",
			want:  sums{confirmed: 1, found: 1, lost: 1},
			wrong: "is lost",
		},
		"acknowledged": {
			said: "put 5 true 7 0 E-normal-1; ask 1 E-normal-1; acked 6 E-normal-1",
			want: sums{confirmed: 1},
		},
		"acknowledged and perhaps gone": {
			said: "put 5 true 7 0 E-normal-1; ask 1 E-normal-1",
			want: sums{confirmed: 1},
		},
		"acknowledged before its put was told": {
			said: "ask 1 E-normal-1; acked 6 E-normal-1; put 5 true 7 0 E-normal-1",
			want: sums{confirmed: 1},
		},
		"again, soon after its ack": {
			said:  "put 5 true 7 0 E-normal-1; ask 1 E-normal-1; acked 100 E-normal-1; now 2100",
			found: "item E-normal-1 7 0",
			want:  sums{confirmed: 1, found: 1, again: 1},
		},
		"again, long after its ack": {
			said:  "put 5 true 7 0 E-normal-1; ask 1 E-normal-1; acked 100 E-normal-1; now 2101",
			found: "item E-normal-1 7 0",
			want:  sums{confirmed: 1, found: 1, again: 1},
			wrong: "acknowledged 2001 ms before the cut",
		},
		"dropped and declared": {
			said:  "put 5 true 7 0 E-bulk-1 E-bulk-2 E-bulk-3",
			found: "gap F-bulk-9 E bulk 1 2 2 quota; item E-bulk-3 7 2",
			want:  sums{confirmed: 3, found: 2, declared: 2},
		},
		"dropped beside what is declared": {
			said:  "put 5 true 7 0 E-bulk-1 E-bulk-2 E-bulk-3",
			found: "gap F-bulk-9 E bulk 1 2 2 quota",
			want:  sums{confirmed: 3, found: 1, declared: 2, lost: 1},
			wrong: "E-bulk-3 was confirmed",
		},
		"a gap that counts too few": {
			said:  "put 5 true 7 0 E-bulk-1 E-bulk-2",
			found: "gap F-bulk-9 E bulk 1 2 1 quota",
			want:  sums{confirmed: 2, found: 1, declared: 2},
			wrong: "declares 1 messages, and 2 are gone",
		},
		"damage": {
			found: "gap F-bulk-9 E bulk 1 2 2 damage",
			want:  sums{found: 1},
			wrong: "a gap that should not be",
		},
		"an id for two puts": {
			said:  "put 5 true 7 0 E-normal-1; put 5 true 8 0 E-normal-1",
			found: "item E-normal-1 8 0",
			want:  sums{confirmed: 2, found: 1, twice: 1},
			wrong: "the id E-normal-1 for the second time",
		},
		"twice in the queue": {
			said:  "put 5 true 7 0 E-normal-1",
			found: "item E-normal-1 7 0; item E-normal-1 7 0",
			want:  sums{confirmed: 1, found: 2, twice: 1},
			wrong: "E-normal-1 is in the queue twice|E-normal-1 comes after 1|after the body 0",
		},
		"another body": {
			said:  "put 5 true 7 0 E-normal-1",
			found: "item E-normal-1 7 1",
			want:  sums{confirmed: 1, found: 1, twice: 1},
			wrong: "holds the body 1 of producer 7, and was put with 0 of 7",
		},
		"a damaged body": {
			said:  "put 5 true 7 0 E-normal-1; ask 1 E-normal-1",
			found: "bad E-normal-1",
			want:  sums{confirmed: 1},
			wrong: "a body that was not put",
		},
		"out of order": {
			said:  "put 5 true 7 0 E-normal-1; put 5 true 8 0 E-normal-2",
			found: "item E-normal-2 8 0; item E-normal-1 7 0",
			want:  sums{confirmed: 2, found: 2},
			wrong: "E-normal-1 comes after 2",
		},
		"epochs out of order": {
			said:  "put 5 true 7 0 E-normal-1",
			found: "item F-normal-1 8 0; item E-normal-1 7 0",
			want:  sums{confirmed: 1, found: 2},
			wrong: "E-normal-1 comes after the epoch F",
		},
		"rejected": {
			said:  "put 5 true 7 0 E-normal-1; ask 1 E-normal-1; rejected E-normal-1",
			found: "dead E-normal-1",
			want:  sums{confirmed: 1},
		},
		"rejected and lost": {
			said:  "put 5 true 7 0 E-normal-1; ask 1 E-normal-1; rejected E-normal-1",
			want:  sums{confirmed: 1, lost: 1},
			wrong: "not among the dead letters",
		},
		"sent through the daemon": {
			said:  "sent 7 0 E-normal-1 E-normal-2",
			found: "item E-normal-1 7 0; item E-normal-2 7 1",
			want:  sums{confirmed: 2, found: 2},
		},
		"what the status said": {
			said:  `status {"time":"1970-01-01T00:00:05Z","outbox":{"ram_only":1,"lanes":[{"queued":2},{"queued":1}]}}`,
			found: "item E-normal-1 0 2800; item E-normal-2 0 2900",
			want:  sums{found: 2},
		},
		"fewer than the status said": {
			said:  `status {"time":"1970-01-01T00:00:05Z","outbox":{"lanes":[{"queued":2},{"queued":1}]}}`,
			found: "item E-normal-1 0 2800; item E-normal-2 0 2900",
			want:  sums{found: 2, lost: 1},
			wrong: "the status said that 3 messages were on the disk, and there are 2",
		},
		"readings older than max_loss are missing": {
			said:  `status {"time":"1970-01-01T00:00:05Z","outbox":{}}`,
			found: "item E-normal-1 0 2799",
			want:  sums{found: 1, lost: 1},
			wrong: "the newest reading is of 1970-01-01 00:00:02.799",
		},
		"slow":     {said: "ready 5001", want: sums{worstReady: 5001}, wrong: "ready after 5001 ms"},
		"nonsense": {said: "put", wrong: `nobody understands: "put"`},
		"failed":   {said: "fail put: no space left", wrong: "put: no space left"},
		"unsound":  {found: "check control.db: page 3", wrong: "check: control.db: page 3"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLedger(5000)
			l.start()
			names := strings.NewReplacer("E-", e+"-", "F-", f+"-", " E ", " "+e+" ")
			script := "open 3 E;work 1000;" + tc.said + ";START;open 3 F;" + tc.found + ";listed 0"
			for line := range strings.SplitSeq(script, ";") {
				line = strings.TrimSpace(line)
				switch {
				case line == "START":
					l.start()
				case strings.HasPrefix(line, "open 3 "):
					l.hear(strings.NewReplacer("E", e, "F", f).Replace(line))
				case line != "":
					l.hear(names.Replace(line))
				}
			}
			tc.want.worstReady = max(tc.want.worstReady, 3)
			if d := cmp.Diff(tc.want, l.sums, cmp.AllowUnexported(sums{}), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("sums (-want +got):\n%s", d)
			}
			judgeComplaints(t, l.bad, tc.wrong)
		})
	}
}

func judgeComplaints(t *testing.T, bad []string, wrong string) {
	t.Helper()
	var parts []string
	if wrong != "" {
		parts = strings.Split(wrong, "|")
	}
	if len(bad) != len(parts) {
		t.Fatalf("complaints: %q, want %q", bad, parts)
	}
	short := strings.NewReplacer(e, "E", f, "F")
	for i, b := range bad {
		if !strings.Contains(short.Replace(b), parts[i]) {
			t.Errorf("complaint %q, want %q", b, parts[i])
		}
	}
}

// What outlived one cut must outlive the next one, and what was gone must stay so.
func TestLedgerOverTwoCuts(t *testing.T) {
	l := newLedger(5000)
	for _, line := range []string{
		"open 3 " + e, "work 1000", "put 5 false 7 0 " + e + "-normal-1", "put 5 false 8 0 " + e + "-normal-2", "ask 1 " + e + "-normal-2",
		"open 3 " + f, "item " + e + "-normal-1 7 0", "listed 1", "START",
		"open 3 00000000000000aa", "item " + e + "-normal-2 8 0", "listed 1",
	} {
		if line == "START" {
			l.start()
			continue
		}
		l.hear(line)
	}
	judgeComplaints(t, l.bad, "E-normal-2 was gone and is back|E-normal-1 was confirmed")
}
