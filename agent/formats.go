package agent

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"iotagent/c2d"
	"iotagent/internal/clock"
	"iotagent/outbox"
	"iotagent/sensors"
)

// The JSON that leaves the gateway. docs/formats.md shows each shape; testdata holds the golden files.

// timeLayout is RFC 3339 in UTC with milliseconds, the same width always.
const timeLayout = "2006-01-02T15:04:05.000Z"

// appendReading appends one reading as a JSON object:
//
//	{"sensor":"boiler","time":"2026-11-22T10:00:00.000Z","temperature_celsius":21.5}
//
// with "quality" and "reason" unless the reading is good, and "clock":"restored" behind a time that is not the wall clock's. Where the time is not known yet a slot
// is left for it and noted in slots; with nil slots the time stays unknown.
func appendReading(b []byte, r *sensors.Reading, slots *[]Slot) []byte {
	b = append(b, `{"sensor":`...)
	b = appendString(b, r.Sensor)
	b = append(b, ',')
	switch {
	case r.At.Trusted:
		b = appendTime(b, r.At.Wall)
	case !r.At.Restored.IsZero():
		b = appendMarked(b, r.At.Restored, clockRestored)
	case slots == nil:
		b = appendUnknown(b, r.At.Mono)
	default:
		b = slotJSON.blank(b, r.At.Mono, slots)
	}
	b = appendWindow(b, r.Window, &r.At)
	for _, s := range r.Samples {
		b = append(b, ',')
		b = appendString(b, s.Name)
		b = append(b, ':')
		b = appendNumber(b, s.Value)
	}
	b = appendColumns(b, r.Window)
	if r.Quality != sensors.Good {
		b = append(b, `,"quality":`...)
		b = appendString(b, string(r.Quality))
	}
	if r.Reason != "" && (r.Quality != sensors.Good || r.Alarm) {
		b = append(b, `,"reason":`...)
		b = appendString(b, clip(r.Reason, maxReason))
	}
	return append(appendMarks(b, r), '}')
}

// appendNumber writes every digit that matters, without an exponent where a person would not use one.
func appendNumber(b []byte, v float64) []byte {
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'g'
	}
	return strconv.AppendFloat(b, v, format, -1, 64)
}

// maxReason keeps an error's text from filling a message.
const maxReason = 200

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return string([]rune(s)[:min(n, len([]rune(s)))]) + "…"
}

func appendString(b []byte, s string) []byte {
	if plainText(s) { // nearly all is
		return append(append(append(b, '"'), s...), '"')
	}
	q, err := json.Marshal(s)
	if err != nil { // a string always marshals
		return append(b, `""`...)
	}
	return append(b, q...)
}

// plainText reports whether JSON needs no escapes for s.
func plainText(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// DeclaredGap is a loss as the hub is told of it. docs/formats.md explains each key.
type DeclaredGap struct {
	// Epoch, From and To are zero where a damaged file did not tell which messages it held.
	Epoch string `json:"epoch,omitempty"`
	Lane  string `json:"lane"`
	From  uint64 `json:"from,omitempty"`
	To    uint64 `json:"to,omitempty"`
	// Messages and Readings are zero where nobody knows how many; AtMost says that it may be fewer.
	Messages uint64 `json:"messages,omitempty"`
	Readings uint64 `json:"readings,omitempty"`
	AtMost   bool   `json:"at_most,omitempty"`
	// WithinSeconds is set for "unclean-stop": what was taken that long before the stop may be missing.
	WithinSeconds float64 `json:"within_seconds,omitempty"`
	Reason        string  `json:"reason"`
}

type gapBody struct {
	Gap DeclaredGap `json:"gap"`
}

func declared(g *outbox.Gap) DeclaredGap {
	d := DeclaredGap{
		Lane: g.Lane.String(), From: g.From, To: g.To, Messages: g.Messages, Readings: g.Readings,
		AtMost: g.AtMost && g.Messages > 0, WithinSeconds: g.Within.Seconds(), Reason: g.Reason,
	}
	if g.Epoch != 0 { // a damaged file does not always tell
		d.Epoch = epochText(g.Epoch)
	}
	return d
}

func gapEnvelope(g *outbox.Gap) *Envelope {
	return jsonEnvelope("gap", time.Time{}, gapBody{declared(g)})
}

// resultBody is what a result message says about a command.
type resultBody struct {
	Command string     `json:"command"`
	Status  c2d.Status `json:"status"`
	Code    int        `json:"code"`
	Detail  string     `json:"detail,omitempty"`
	Time    string     `json:"time,omitempty"`
}

func resultEnvelope(r c2d.Report) *Envelope {
	body := resultBody{Command: r.Command, Status: r.Status, Code: r.Code, Detail: r.Detail}
	created := time.Time{}
	if clock.Plausible(r.Ended) {
		created = r.Ended
		body.Time = r.Ended.UTC().Format(timeLayout)
	}
	e := jsonEnvelope("command-result", created, body)
	e.CorrelationID = r.MessageID
	return e
}

func jsonEnvelope(kind string, created time.Time, body any) *Envelope {
	b, err := json.Marshal(body)
	if err != nil { // the two types above always marshal
		b = []byte("{}")
	}
	return &Envelope{
		ContentType: contentJSON, ContentEncoding: encodingUTF, Created: created,
		Properties: map[string]string{propKind: kind}, Body: b,
	}
}
