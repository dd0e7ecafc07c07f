package agent

import (
	"strconv"

	"iotagent/internal/clock"
	"iotagent/sensors"
)

// What readings say beside their time, their samples and their quality: of a window, of an alarm, of a configuration's tags.

// appendWindow appends what stands behind the time of a reading that was made of several: until when, of how many. Where the time is not known, or
// will be known later only, how long it took says the same.
//
//	,"to":"2026-11-22T10:00:50.000Z","count":6,"failed":1,"aggregate":"last"
func appendWindow(b []byte, w *sensors.Window, at *clock.Stamp) []byte {
	if w == nil {
		return b
	}
	if from, known := at.True(); known {
		b = append(b, `,"to":"`...)
		b = from.Add(w.Span).UTC().AppendFormat(b, timeLayout)
		b = append(b, '"')
	} else {
		b = append(b, `,"span_seconds":`...)
		b = appendMillis(b, w.Span.Milliseconds())
	}
	b = append(b, `,"count":`...)
	b = strconv.AppendInt(b, int64(w.Count), 10)
	if w.Failed > 0 {
		b = append(b, `,"failed":`...)
		b = strconv.AppendInt(b, int64(w.Failed), 10)
	}
	if w.Func != meanFunc {
		b = append(b, `,"aggregate":`...)
		b = appendString(b, w.Func)
	}
	return b
}

// meanFunc is what the values of a window or of a thinned reading are, unless it says otherwise.
const meanFunc = "mean"

// appendColumns appends the further functions of a window:
//
//	,"min":{"temperature_celsius":21.4},"max":{"temperature_celsius":21.6}
func appendColumns(b []byte, w *sensors.Window) []byte {
	if w == nil {
		return b
	}
	for _, c := range w.More {
		if len(c.Samples) == 0 {
			continue
		}
		b = append(append(append(b, `,"`...), c.Func...), `":`...)
		sep := byte('{')
		for _, s := range c.Samples {
			b = appendString(append(b, sep), s.Name)
			b = appendNumber(append(b, ':'), s.Value)
			sep = ','
		}
		b = append(b, '}')
	}
	return b
}

// appendMarks appends whether the reading is an alarm, true where one begins and false where it ends, and the tags:
//
//	,"alarm":true,"tags":{"line":"3","site":"north"}
func appendMarks(b []byte, r *sensors.Reading) []byte {
	if r.Alarm {
		b = append(b, `,"alarm":`...)
		b = strconv.AppendBool(b, !r.Over)
	}
	sep := `,"tags":{`
	for _, t := range r.Tags {
		b = appendString(append(b, sep...), t.Key)
		b = appendString(append(b, ':'), t.Value)
		sep = ","
	}
	if len(r.Tags) > 0 {
		b = append(b, '}')
	}
	return b
}

// marks appends the same as records of a SenML pack; name is the base name.
func (s *senml) marks(b []byte, r *sensors.Reading, name string) []byte {
	if w := r.Window; w != nil {
		b = s.window(b, r, w, name)
	}
	if r.Alarm {
		b = appendString(label(s.open(b, r, name), "n"), "alarm")
		b = strconv.AppendBool(label(b, "vb"), !r.Over)
		b = append(b, '}')
	}
	for _, t := range r.Tags {
		b = s.text(s.open(b, r, name), "tag_"+t.Key, t.Value)
	}
	return b
}

func (s *senml) window(b []byte, r *sensors.Reading, w *sensors.Window, name string) []byte {
	counts := []sensors.Sample{
		{Name: "span_seconds", Value: float64(w.Span.Milliseconds()) / 1000}, {Name: "count", Value: float64(w.Count)}, {Name: "failed_count", Value: float64(w.Failed)},
	}
	if w.Failed == 0 {
		counts = counts[:2]
	}
	for i := range counts {
		b = s.value(s.open(b, r, name), counts[i].Name, &counts[i])
	}
	if w.Func != meanFunc {
		b = s.text(s.open(b, r, name), "aggregate", w.Func)
	}
	for _, c := range w.More {
		for i := range c.Samples {
			b = s.value(s.open(b, r, name), c.Samples[i].Name+"_"+c.Func, &c.Samples[i])
		}
	}
	return b
}
