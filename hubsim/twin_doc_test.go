package hubsim

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	o, err := parseObject([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

// The examples of RFC 7396, appendix A, that are objects.
func TestMergePatch(t *testing.T) {
	for _, tc := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		old := object(t, tc[0])
		got, _ := merge(old, nil, object(t, tc[1]), metadata{})
		if diff := cmp.Diff(object(t, tc[2]), got); diff != "" {
			t.Errorf("%s with %s: %s", tc[0], tc[1], diff)
		}
		if diff := cmp.Diff(object(t, tc[0]), old); diff != "" {
			t.Errorf("%s was changed: %s", tc[0], diff)
		}
		back, _ := merge(old, nil, difference(old, got), metadata{})
		if diff := cmp.Diff(got, back); diff != "" {
			t.Errorf("difference of %s and %s: %s", tc[0], tc[2], diff)
		}
	}
}

func TestMetadataFollowsTheProperties(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	s := newTwin(day(1)).desired
	for n, patch := range []string{`{"a":{"b":1,"c":2},"d":1}`, `{"a":{"b":2}}`, `{"d":null,"a":{"c":3}}`} {
		var err error
		if s, err = s.changed(object(t, patch), false, true, day(n+2)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := json.Marshal(s.render(true))
	if err != nil {
		t.Fatal(err)
	}
	at := func(n, version string) string {
		return `"$lastUpdated":"2026-01-0` + n + `T00:00:00.0000000Z","$lastUpdatedVersion":` + version
	}
	want := `{"$metadata":{` + at("4", "4") + `,"a":{` + at("4", "4") + `,"b":{` + at("3", "3") + `},"c":{` + at("4", "4") + `}}},"$version":4,"a":{"b":2,"c":3}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzTwin(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1}}`), []byte(`{"a":{"b":null,"c":[1,{"d":"x"}]},"$version":1}`))
	f.Add([]byte(`{"a":1e400}`), []byte(`{"\ud800":1}`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s := newTwin(time.Unix(0, 0)).reported
		for _, text := range [][]byte{first, second} {
			patch, err := parseObject(text)
			if err != nil {
				return
			}
			if patch, err = checkPatch(patch); err != nil {
				return
			}
			next, err := s.changed(patch, false, false, time.Unix(1, 0))
			if err != nil {
				return
			}
			if d := difference(s.props, next.props); len(d) > 0 {
				back, _ := merge(s.props, nil, d, metadata{})
				if diff := cmp.Diff(next.props, back); diff != "" {
					t.Errorf("the difference leads elsewhere: %s", diff)
				}
			}
			s = next
			if _, err := json.Marshal(s.render(true)); err != nil {
				t.Errorf("an accepted twin cannot be shown: %v", err)
			}
		}
	})
}
