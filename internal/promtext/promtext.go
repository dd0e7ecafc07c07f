// Package promtext writes metrics in the text format of Prometheus, version 0.0.4 (prometheus.io, "Exposition formats").
package promtext

import (
	"math"
	"strconv"
	"strings"
)

// ContentType is what an HTTP answer of this format declares.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Writer collects metrics. The zero value is empty and ready.
type Writer struct {
	b    []byte
	name string
}

// Counter begins a metric that only grows; its name ends in _total. What Value adds from here on belongs to it.
func (w *Writer) Counter(name, help string) { w.family(name, "counter", help) }

// Gauge begins a metric that may go both ways.
func (w *Writer) Gauge(name, help string) { w.family(name, "gauge", help) }

func (w *Writer) family(name, kind, help string) {
	w.name = name
	help = strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(help)
	w.b = append(w.b, "# HELP "+name+" "+help+"\n# TYPE "+name+" "+kind+"\n"...)
}

// Value adds a value of the metric begun last. labels are names and values in turn; the values may be any text.
func (w *Writer) Value(v float64, labels ...string) {
	w.b = append(w.b, w.name...)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		w.b = append(append(w.b, sep), labels[i]...)
		w.b = append(w.b, `="`+labelValue(labels[i+1])+`"`...)
	}
	if len(labels) > 1 {
		w.b = append(w.b, '}')
	}
	w.b = append(append(append(w.b, ' '), number(v)...), '\n')
}

// Bool adds 1 for true and 0 for false.
func (w *Writer) Bool(v bool, labels ...string) {
	if v {
		w.Value(1, labels...)
	} else {
		w.Value(0, labels...)
	}
}

// Bytes returns all that was written.
func (w *Writer) Bytes() []byte { return w.b }

func labelValue(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(s, "�"))
}

// number writes what people read without an exponent.
func number(v float64) string {
	abs := math.Abs(v)
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case v == 0, abs >= 1e-6 && abs < 1e15:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64) // "NaN" and "-Inf" are the format's own
}
