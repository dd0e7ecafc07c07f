package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// reading is the n-th message of a lane.
func reading(epoch string, n int, body string) *event {
	return &event{
		MessageID: fmt.Sprintf("%s-normal-%d", epoch, n), Body: body,
		Properties: map[string]string{"epoch": epoch, "lane": "normal", "seq": fmt.Sprint(n)},
	}
}

func declaration(epoch string, n int, text string) *event {
	e := reading(epoch, n, `{"gap":`+text+`}`)
	e.Properties["kind"] = "gap"
	return e
}

// Each case is a run with one thing wrong, or with what looks wrong and is not.
func TestJudge(t *testing.T) {
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	lossy, giving := &trouble{name: "lossy", repeats: true}, &trouble{name: "giving", gives: true}
	for _, c := range []struct {
		name string
		run  func(j *judge)
		dead []string
		want string // "" when all is well
	}{
		{"in order", func(j *judge) {
			for n := range 5 {
				j.arrive(at(n), reading("e", n+1, fmt.Sprint(n)))
			}
		}, nil, ""},
		{"an undeclared hole", func(j *judge) {
			j.arrive(at(0), reading("e", 1, "a"))
			j.arrive(at(1), reading("e", 3, "c"))
		}, nil, "e normal: 1 of 3 messages are missing and not declared, the first is 2"},
		{"a dead letter", func(j *judge) {
			j.begin(at(0), &trouble{fatal: true}, nil)
			j.arrive(at(0), reading("e", 1, "a"))
			j.arrive(at(1), reading("e", 3, "c"))
		}, []string{"e-normal-2"}, ""},
		{"a dead letter for nothing", func(j *judge) {
			j.arrive(at(0), reading("e", 1, "a"))
			j.arrive(at(1), reading("e", 3, "c"))
		}, []string{"e-normal-2"}, "1 messages lie in the dead letters"},
		{"a declared hole", func(j *judge) {
			j.kill("e")
			j.arrive(at(0), reading("e", 1, "a"))
			j.arrive(at(1), reading("e", 4, "d"))
			j.arrive(at(2), declaration("f", 1, `{"epoch":"e","lane":"normal","from":2,"reason":"unclean-stop"}`))
		}, nil, ""},
		{"a hole before the declared one", func(j *judge) {
			j.kill("e")
			j.arrive(at(1), reading("e", 2, "b"))
			j.arrive(at(2), declaration("f", 1, `{"epoch":"e","lane":"normal","from":2,"reason":"unclean-stop"}`))
		}, nil, "the first is 1"},
		{"declared by one that was not killed", func(j *judge) {
			j.arrive(at(2), declaration("f", 1, `{"epoch":"e","lane":"normal","from":2,"reason":"unclean-stop"}`))
		}, nil, "a gap of a process that was not killed"},
		{"killed before anybody knew it", func(j *judge) {
			j.kill("")
			j.arrive(at(2), declaration("f", 1, `{"epoch":"e","lane":"normal","from":2,"reason":"unclean-stop"}`))
		}, nil, ""},
		{"declared for another reason", func(j *judge) {
			j.kill("e")
			j.arrive(at(2), declaration("f", 1, `{"epoch":"e","lane":"normal","from":2,"to":9,"reason":"quota"}`))
		}, nil, "a gap for no reason known here"},
		{"reordered", func(j *judge) {
			for _, n := range []int{1, 3, 2} {
				j.arrive(at(n), reading("e", n, fmt.Sprint(n)))
			}
		}, nil, "e-normal-2 came at 00:00:02.000, after 3 of the same lane"},
		{"reordered by a loss, which is no excuse", func(j *judge) {
			j.begin(at(0), lossy, nil)
			for i, n := range []int{1, 3, 2} {
				j.arrive(at(i), reading("e", n, fmt.Sprint(n)))
			}
		}, nil, "(in the time of: lossy)"},
		{"live first", func(j *judge) {
			j.liveFirst = true
			for _, n := range []int{1, 3, 2} {
				j.arrive(at(n), reading("e", n, fmt.Sprint(n)))
			}
		}, nil, ""},
		{"live first, but alarms", func(j *judge) {
			j.liveFirst = true
			for _, n := range []int{1, 3, 2} {
				e := reading("e", n, fmt.Sprint(n))
				e.MessageID, e.Properties["lane"] = fmt.Sprintf("e-alarm-%d", n), "alarm"
				j.arrive(at(n), e)
			}
		}, nil, "e-alarm-2 came at"},
		{"given back", func(j *judge) {
			j.begin(at(0), giving, nil)
			for i, n := range []int{1, 3, 2} {
				j.arrive(at(i), reading("e", n, fmt.Sprint(n)))
			}
		}, nil, ""},
		{"given back long ago", func(j *judge) {
			j.end(j.begin(at(0), giving, nil), at(1))
			for i, n := range []int{1, 3, 2} {
				j.arrive(at(10*(i+1)), reading("e", n, fmt.Sprint(n)))
			}
		}, nil, "e-normal-2 came"},
		{"twice after a loss", func(j *judge) {
			j.arrive(at(0), reading("e", 1, "a"))
			j.end(j.begin(at(10), lossy, nil), at(20))
			j.arrive(at(30), reading("e", 1, "a"))
		}, nil, ""},
		{"twice because of the second trouble", func(j *judge) {
			j.arrive(at(0), reading("e", 1, "a"))
			j.end(j.begin(at(10), giving, lossy), at(20))
			j.arrive(at(30), reading("e", 1, "a"))
		}, nil, ""},
		{"twice for nothing", func(j *judge) {
			j.end(j.begin(at(0), lossy, nil), at(5))
			j.begin(at(15), giving, nil)
			j.arrive(at(10), reading("e", 1, "a"))
			j.arrive(at(20), reading("e", 1, "a"))
			j.begin(at(30), lossy, nil)
		}, nil, "e-normal-1 came twice"},
		{"another body", func(j *judge) {
			j.begin(at(0), lossy, nil)
			j.arrive(at(1), reading("e", 1, "a"))
			j.arrive(at(2), reading("e", 1, "b"))
		}, nil, `e-normal-1 came with two contents, now "b"`},
		{"another property", func(j *judge) {
			j.begin(at(0), lossy, nil)
			j.arrive(at(1), reading("e", 1, "a"))
			changed := reading("e", 1, "a")
			changed.Properties["iothub-creation-time-utc"] = "2026-11-01T00:00:00Z"
			j.arrive(at(2), changed)
		}, nil, "e-normal-1 came with two contents"},
		{"an id of another", func(j *judge) {
			e := reading("e", 1, "a")
			e.MessageID = "e-normal-2"
			j.arrive(at(0), e)
		}, nil, `"e-normal-2" has properties of "e-normal-1"`},
		{"a line that did not arrive", func(j *judge) {
			j.confirm("e-normal-2", linePrefix+"7")
			j.arrive(at(0), reading("e", 1, linePrefix+"6"))
		}, nil, `e-normal-2 ("line 7") was confirmed and did not arrive`},
		{"a line as another message", func(j *judge) {
			j.confirm("e-normal-1", linePrefix+"7")
			j.arrive(at(0), reading("e", 1, linePrefix+"6"))
		}, nil, `e-normal-1 does not hold "line 7"`},
		{"a line queued twice", func(j *judge) {
			j.arrive(at(0), reading("e", 1, linePrefix+"7"))
			j.arrive(at(1), reading("e", 2, linePrefix+"7"))
		}, nil, `"line 7" came as e-normal-1 and as e-normal-2`},
		{"the end of a clean stop", func(j *judge) {
			j.stopped("e", map[string]uint64{"normal": 2, "bulk": 0})
			j.arrive(at(0), reading("e", 1, "a"))
		}, nil, "e normal: 2 messages were put before the stop, the last one did not arrive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := newJudge()
			c.run(j)
			got := j.finish(c.dead)
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("found %q where nothing was wrong", got)
			case c.want != "" && !strings.Contains(strings.Join(got, "\n"), c.want):
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
