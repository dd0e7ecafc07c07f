package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"iotagent/iothub/service"
)

// printer writes events and feedback for people: in columns, in local time, with colours where a terminal shows them.
type printer struct {
	w      io.Writer
	zone   *time.Location
	colour bool
	day    string
	// The widths of the columns, which grow with what they hold.
	device, place int
}

func newPrinter(w io.Writer, zone *time.Location) *printer {
	return &printer{w: w, zone: zone, colour: colours(w), day: time.Now().In(zone).Format(time.DateOnly), device: 8, place: 4}
}

// colours reports whether w is a terminal whose user has not asked for plain text (no-color.org).
func colours(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

const (
	faint = "\x1b[2m"
	bold  = "\x1b[1m"
)

func (p *printer) paint(code, text string) string {
	if !p.colour {
		return text
	}
	return code + text + "\x1b[0m"
}

// event prints one line for each reading of an event; the first begins with when, who and where.
func (p *printer) event(e *service.Event) error {
	place := fmt.Sprintf("%s/%d", e.Partition, e.Sequence)
	p.device, p.place = max(p.device, len(e.Device)), max(p.place, len(place))
	var b strings.Builder
	p.when(&b, e.Enqueued)
	fmt.Fprintf(&b, "  %s  %s", p.paint(bold, pad(e.Device, p.device)), p.paint(faint, pad(place, p.place)))
	indent := strings.Repeat(" ", len("15:04:05.000")+2+p.device+2+p.place)
	for i, line := range bodyLines(e.Body, p.zone) {
		if i > 0 {
			b.WriteString(indent)
		}
		fmt.Fprintf(&b, "  %s\n", line)
	}
	_, err := io.WriteString(p.w, b.String())
	return err
}

// feedback prints one line for each record.
func (p *printer) feedback(f *service.Feedback) error {
	p.device = max(p.device, len(f.DeviceID))
	var b strings.Builder
	p.when(&b, f.EnqueuedTimeUTC)
	fmt.Fprintf(&b, "  %s  %-21s  %s", p.paint(bold, pad(f.DeviceID, p.device)), f.StatusCode, printable(f.OriginalMessageID))
	if f.Description != "" && f.Description != f.StatusCode {
		b.WriteString("  " + printable(f.Description))
	}
	_, err := fmt.Fprintln(p.w, b.String())
	return err
}

// when writes the time of day, after a line with the date when that is another than before.
func (p *printer) when(b *strings.Builder, t time.Time) {
	t = t.In(p.zone)
	if day := t.Format(time.DateOnly); day != p.day {
		p.day = day
		fmt.Fprintln(b, p.paint(faint, t.Format("Monday, 2 January 2006")))
	}
	b.WriteString(p.paint(faint, t.Format("15:04:05.000")))
}

func pad(s string, width int) string { return fmt.Sprintf("%-*s", width, s) }

// bodyLines returns a body for people: one line for each JSON object, otherwise its text.
func bodyLines(body []byte, zone *time.Location) []string {
	if !utf8.Valid(body) {
		return []string{fmt.Sprintf("(%d bytes, not text)", len(body))}
	}
	var objects []json.RawMessage
	if json.Unmarshal(body, &objects) != nil {
		objects = []json.RawMessage{body}
	}
	var lines []string
	for _, o := range objects {
		line, ok := objectLine(o, zone)
		if !ok {
			return []string{printable(string(body))}
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return []string{printable(string(body))}
	}
	return lines
}

// objectLine writes a JSON object as key=value, in its own order. Which sensor, and when, need no key.
func objectLine(object []byte, zone *time.Location) (string, bool) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') || !json.Valid(object) {
		return "", false
	}
	var words []string
	for dec.More() {
		var value json.RawMessage
		key, err := dec.Token()
		if err != nil || dec.Decode(&value) != nil {
			return "", false
		}
		text := string(value)
		if json.Unmarshal(value, &text) == nil && strings.ContainsAny(text, " =\"") {
			text = string(value) // its quotes are needed
		}
		at, err := time.Parse(time.RFC3339, text)
		switch {
		case key == "time" && err == nil:
			words = append(words, at.In(zone).Format("15:04:05"))
		case key == "sensor":
			words = append(words, text)
		default:
			words = append(words, fmt.Sprintf("%v=%s", key, text))
		}
	}
	return printable(strings.Join(words, " ")), true
}

// printable keeps what a device sent from steering the terminal, and on one line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '·'
		}
		return r
	}, s)
}
