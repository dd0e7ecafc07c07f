package outbox_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

const childDir = "OUTBOX_TEST_CHILD_DIR"

// TestKill kills a process that puts, at random points, and looks for every message that it had printed as accepted.
func TestKill(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		putForEver(dir)
		return
	}
	dir := t.TempDir()
	printed := map[string]bool{}
	for range 15 {
		for _, line := range killAfter(t, dir, time.Duration(rand.IntN(60))*time.Millisecond) {
			if printed[line] {
				t.Fatalf("%s was printed twice", line)
			}
			printed[line] = true
		}
	}
	if len(printed) < 100 {
		t.Fatalf("only %d messages were put: the test proves nothing", len(printed))
	}
	q := open(t, dir, nil)
	last := map[string]uint64{}
	seen := map[string]bool{}
	for es := next(t, q, 1000); len(es) > 0; es = next(t, q, 1000) {
		for _, e := range es {
			if e.Gap != nil {
				t.Fatalf("a gap: %+v", e.Gap)
			}
			k := e.ID.String()
			if seen[k] || string(e.Body) == "" {
				t.Fatalf("%s twice or empty", k)
			}
			lane := k[:strings.LastIndex(k, "-")]
			if e.ID.Seq <= last[lane] {
				t.Fatalf("%s after %d", k, last[lane])
			}
			last[lane], seen[k] = e.ID.Seq, true
		}
	}
	for k := range printed {
		if !seen[k] {
			t.Errorf("%s was accepted and is lost", k)
		}
	}
}

// killAfter runs the child until it has printed something and then for d, and returns the complete lines.
func killAfter(t *testing.T, dir string, d time.Duration) (lines []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	killed := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break // a last line without an end was not told in full
		}
		if !killed {
			killed = true
			time.AfterFunc(d, func() { _ = cmd.Process.Kill() })
		}
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "put "); ok {
			lines = append(lines, id)
		} else if strings.HasPrefix(line, "error") {
			t.Fatal(line)
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	outboxtest.Check(t, dir)
	return lines
}

func putForEver(dir string) {
	q, err := outbox.Open(dir, nil)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				body := make([]byte, 1+rand.IntN(400))
				ids, err := q.Put(context.Background(), outbox.Message{Lane: outbox.Lane(w % 3), Body: body}, outbox.Message{Lane: outbox.Normal, Body: body})
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Printf("put %s\nput %s\n", ids[0], ids[1])
			}
		}()
	}
	select {}
}
