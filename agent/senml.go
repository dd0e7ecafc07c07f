package agent

import (
	"strconv"
	"strings"
	"time"

	"iotagent/internal/clock"
	"iotagent/sensors"
)

// senml writes the readings of one message as a SenML pack in JSON (RFC 8428 §5): one record for each value,
//
//	[{"bn":"boiler/temperature_celsius","bt":1795341600.000,"u":"Cel","v":21.5},{"t":10,"u":"Cel","v":21.53}]
//
// The name of a value is that of its sensor and its own, with a slash between; bn and bt stand where they change. A reading that is not good has further
// records with text, <sensor>/quality and <sensor>/reason. The zero value begins a message.
type senml struct {
	begun bool
	name  string // the base name in force
	base  clock.Stamp
	slots *[]Slot // of the batch
}

// add appends the records of a reading to the body, the bracket or the comma before them included, and notes in slots where a base time is not known yet.
func (s *senml) add(b []byte, r *sensors.Reading, slots *[]Slot) []byte {
	s.slots = slots
	if r.Quality == sensors.Good && len(r.Samples) == 1 && r.Window == nil && !r.Alarm && len(r.Tags) == 0 {
		b = s.open(b, r, r.Sensor+"/"+r.Samples[0].Name)
		return s.value(b, "", &r.Samples[0])
	}
	name := r.Sensor + "/"
	for i := range r.Samples {
		b = s.open(b, r, name)
		b = s.value(b, r.Samples[i].Name, &r.Samples[i])
	}
	if r.Quality != sensors.Good {
		b = s.text(s.open(b, r, name), "quality", string(r.Quality))
	}
	if r.Reason != "" {
		b = s.text(s.open(b, r, name), "reason", clip(r.Reason, maxReason))
	}
	return s.marks(b, r, name)
}

// open begins a record: the base fields that change, and the time.
func (s *senml) open(b []byte, r *sensors.Reading, name string) []byte {
	if s.begun {
		b = append(b, ",{"...)
	} else {
		b = append(b, "[{"...)
	}
	if !s.begun || s.name != name {
		b = appendString(label(b, "bn"), name)
		s.name = name
	}
	if !s.begun || certainty(&s.base) != certainty(&r.At) {
		b = appendBase(b, &r.At, s.slots)
		s.base = r.At
	}
	s.begun = true
	if t := s.since(&r.At); t != 0 {
		b = appendMillis(label(b, "t"), t)
	}
	return b
}

// certainty tells stamps apart whose times stand behind different base times.
func certainty(at *clock.Stamp) int {
	switch _, known := at.True(); {
	case at.Trusted:
		return 2
	case known:
		return 1
	}
	return 0
}

// appendBase writes the base time, or leaves a slot for it. What is said of the clock holds up to the next base time.
func appendBase(b []byte, at *clock.Stamp, slots *[]Slot) []byte {
	switch t, known := at.True(); {
	case at.Trusted:
		return appendMillis(label(b, "bt"), t.UnixMilli())
	case known:
		return appendMarkedBase(label(b, "bt"), t, clockRestored)
	}
	return slotSenML.blank(separate(b), at.Mono, slots)
}

func appendMarkedBase(b []byte, t time.Time, mark string) []byte {
	return appendString(label(appendMillis(b, t.UnixMilli()), "clock"), mark)
}

// appendUnknownBase writes the time since boot. The receiver has to understand "clock_" or refuse the pack (RFC 8428 §4.4), so that nobody takes that for the time
// of day.
func appendUnknownBase(b []byte, mono time.Duration) []byte {
	return append(label(appendMillis(b, mono.Milliseconds()), "clock_"), `"`+clockUnknown+`"`...)
}

// since is the time of a reading relative to the base, in milliseconds.
func (s *senml) since(at *clock.Stamp) int64 {
	t, known := at.True()
	if !known {
		return at.Mono.Milliseconds() - s.base.Mono.Milliseconds()
	}
	base, _ := s.base.True()
	return t.UnixMilli() - base.UnixMilli()
}

// value ends a record with a measurement; an empty name leaves it to the base name.
func (s *senml) value(b []byte, name string, v *sensors.Sample) []byte {
	if name != "" {
		b = appendString(label(b, "n"), name)
	}
	if u := senmlUnit(v.Name); u != "" {
		b = appendString(label(b, "u"), u)
	}
	return append(appendNumber(label(b, "v"), v.Value), '}')
}

// text ends a record with a text.
func (s *senml) text(b []byte, name, text string) []byte {
	b = appendString(label(b, "n"), name)
	return append(appendString(label(b, "vs"), text), '}')
}

// label begins the next member of the record that b ends in.
func label(b []byte, name string) []byte {
	return append(append(append(separate(b), '"'), name...), `":`...)
}

// separate puts a comma before the next member of the record that b ends in, unless it is the first.
func separate(b []byte) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return b
}

// appendMillis writes milliseconds as seconds, every digit of them and no more.
func appendMillis(b []byte, ms int64) []byte {
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if rest := ms % 1000; rest != 0 {
		b = append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return b
}

// senmlUnit is the symbol that IANA's SenML registry has for the unit in which a name ends, as RFC 8428 §12.1 and RFC 8798 §2 list them; "" for
// those that it does not have. The ppm of RFC 8798 §3 is a secondary unit, which plain SenML may not use.
func senmlUnit(name string) string {
	switch name[strings.LastIndexByte(name, '_')+1:] {
	case "celsius":
		return "Cel"
	case "percent":
		if strings.Contains(name, "humidity") {
			return "%RH"
		}
		return "%"
	case "pascals":
		return "Pa"
	case "volts":
		return "V"
	case "amperes":
		return "A"
	case "watts":
		return "W"
	case "joules":
		return "J"
	case "ohms":
		return "Ohm"
	case "lux":
		return "lx"
	case "hertz":
		return "Hz"
	case "rpm":
		return "1/min"
	case "seconds":
		return "s"
	case "meters":
		return "m"
	case "bytes":
		return "B"
	case "ph":
		return "pH"
	case "count":
		return "count"
	case "ratio", "state":
		return "/"
	}
	return ""
}
