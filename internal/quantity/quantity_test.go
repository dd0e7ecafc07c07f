package quantity

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	const bad = `want a duration in quotes such as "500ms", "30s", "5m" or "24h", got `
	for _, tc := range []struct {
		raw     string
		want    time.Duration
		problem string
	}{
		{`"30s"`, 30 * time.Second, ""},
		{`'500ms'`, 500 * time.Millisecond, ""},
		{`"1h30m"`, 90 * time.Minute, ""},
		{`"0s"`, 0, ""},
		{`30`, 0, bad + `30`},
		{`30s`, 0, bad + `30s`},
		{`true`, 0, bad + `true`},
		{`"30"`, 0, bad + `"30"`},
		{`"10 minutes"`, 0, bad + `"10 minutes"`},
		{`"1d"`, 0, bad + `"1d"`},
		{`"-5s"`, 0, bad + `"-5s"`},
		{`""`, 0, bad + `""`},
		{``, 0, bad},
		{`"`, 0, bad + `\"`},
		{"\"a\nb\"", 0, bad + `"a\nb"`},
		{`"` + strings.Repeat("é", 50) + `"`, 0, bad + `"` + strings.Repeat("é", 40) + `…"`},
		{`"9999999999h"`, 0, bad + `"9999999999h"`},
	} {
		d := Seconds(7)
		d.UnmarshalTOMLText(tc.raw)
		if d.Duration != tc.want || d.Problem() != tc.problem {
			t.Errorf("%s: got %v, problem %q; want %v, problem %q", tc.raw, d.Duration, d.Problem(), tc.want, tc.problem)
		}
	}
}

func TestDurationString(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", 5 * time.Minute: "5m", 90 * time.Second: "1m30s", 24 * time.Hour: "24h",
		time.Hour + time.Second: "1h0m1s", 90 * time.Minute: "1h30m", 100 * time.Millisecond: "100ms",
	} {
		if got := (Duration{Duration: in}).String(); got != want {
			t.Errorf("%v: got %q, want %q", in, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	const bad = `want a size in quotes such as "4096B", "64KiB" or "256MiB", got `
	for _, tc := range []struct {
		raw     string
		want    int64
		problem string
	}{
		{`"256MiB"`, 256 << 20, ""},
		{`"256 MiB"`, 256 << 20, ""},
		{`"4096B"`, 4096, ""},
		{`"0B"`, 0, ""},
		{`"10kB"`, 10_000, ""},
		{`"3GB"`, 3_000_000_000, ""},
		{`"3GiB"`, 3 << 30, ""},
		{`"9223372036854775807B"`, math.MaxInt64, ""},
		{`"9223372036854775807KiB"`, 0, bad + `"9223372036854775807KiB"`},
		{`4096`, 0, bad + `4096`},
		{`"4096"`, 0, bad + `"4096"`},
		{`"1.5GiB"`, 0, bad + `"1.5GiB"`},
		{`"-1B"`, 0, bad + `"-1B"`},
		{`"256mb"`, 0, bad + `"256mb"`},
		{`"MiB"`, 0, bad + `"MiB"`},
	} {
		b := Bytes{N: 7}
		b.UnmarshalTOMLText(tc.raw)
		if b.N != tc.want || b.Problem() != tc.problem {
			t.Errorf("%s: got %d, problem %q; want %d, problem %q", tc.raw, b.N, b.Problem(), tc.want, tc.problem)
		}
	}
}

func FuzzQuantity(f *testing.F) {
	for _, s := range []string{"30s", "256MiB", "1h0m1s", "10 minutes", "-1B", "", "\x00", "9e99h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d, again Duration
		var b, bagain Bytes
		if d.UnmarshalText([]byte(s)) != nil || b.UnmarshalText([]byte(s)) != nil {
			t.Fatal("decoding must not fail")
		}
		if d.Problem() == "" {
			if _ = again.UnmarshalText([]byte(d.String())); again != d {
				t.Errorf("duration %q is %v, and %v again", s, d, again)
			}
		}
		if b.Problem() == "" {
			if _ = bagain.UnmarshalText([]byte(b.String())); bagain != b {
				t.Errorf("size %q is %v, and %v again", s, b, bagain)
			}
		}
		if strings.ContainsAny(d.Problem()+b.Problem(), "\n\x00\x1b") {
			t.Errorf("%q: a problem must stay on one line: %q %q", s, d.Problem(), b.Problem())
		}
	})
}
