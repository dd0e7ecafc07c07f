package chaos

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	s := func(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }
	got := table([]measured{
		{"cut", s(0.1), s(2), s(3), 4},
		{"cut", -1, s(1), s(1), 0},
		{"cut", s(0.3), s(9), s(9.05), 1},
		{"alike", -1, s(0.04), s(1), 0},
	})
	want := `| trouble | n | noticed: median | max | healed: median | max | caught up: max | again: max |
|---|--:|--:|--:|--:|--:|--:|--:|
| alike | 1 | – | – | 0.0 | 0.0 | 1.0 | 0 |
| cut | 3 | 0.3 | 0.3 | 2.0 | 9.0 | 9.1 | 4 |
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTableReplacesTheLast(t *testing.T) {
	page := "a\n" + tableBegin + "old\n" + tableEnd + "b\n"
	got, err := replaceTable(page, "new\n")
	if want := "a\n" + tableBegin + "new\n" + tableEnd + "b\n"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := replaceTable("a\n"+tableBegin, "new\n"); err == nil {
		t.Error("a page without the second mark was taken")
	}
}
