package promtext

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriter(t *testing.T) {
	var w Writer
	w.Counter("a_total", "One\nline, one \\.")
	w.Value(0)
	w.Gauge("b", "Labels.")
	w.Value(1.5, "sensor", `a "b"\`+"\n\xff")
	w.Value(123456789012, "x", "", "y", "é")
	w.Bool(true, "x", "1")
	w.Bool(false)
	for _, v := range []float64{math.Inf(1), math.Inf(-1), math.NaN(), 1e300, 1e-9, -3, 1793494800.125} {
		w.Value(v)
	}
	const want = `# HELP a_total One\nline, one \\.
# TYPE a_total counter
a_total 0
# HELP b Labels.
# TYPE b gauge
b{sensor="a \"b\"\\\n�"} 1.5
b{x="",y="é"} 123456789012
b{x="1"} 1
b 0
b +Inf
b -Inf
b NaN
b 1e+300
b 1e-09
b -3
b 1793494800.125
`
	if diff := cmp.Diff(want, string(w.Bytes())); diff != "" {
		t.Error(diff)
	}
}
