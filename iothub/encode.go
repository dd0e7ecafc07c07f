package iothub

import (
	"encoding/binary"
	"time"
)

// The AMQP library encodes a message by reflection over structures that have to be made first. The messages inside batches are the ones that there are many of,
// and all have one shape: properties, application properties, one data section (AMQP 1.0 part 3 §3.2). They are encoded here; what is decoded of it is the same.

// Section codes and type codes of what a telemetry message consists of (AMQP 1.0 part 1 §1.6, part 3 §3.2).
const (
	sectionProperties  = 0x73
	sectionApplication = 0x74
	sectionData        = 0x75

	typeNull     = 0x40
	typeBinary8  = 0xa0
	typeString8  = 0xa1
	typeSymbol8  = 0xa3
	typeList32   = 0xd0
	typeMap32    = 0xd1
	typeWide     = 0x10 // from the type with a length of one byte to the one with four
	sectionHead  = 3    // 00 53 and the section's code
	compoundHead = 9    // type code, size and count
)

// The places of the fields that are used in the properties section.
const (
	fieldMessageID       = 0
	fieldCorrelationID   = 5
	fieldContentType     = 6
	fieldContentEncoding = 7
)

// fields returns the properties section's values in their order, and how many there are without the empty ones at the end.
func (m *Message) fields() (f [fieldContentEncoding + 1]string, n int) {
	f = [...]string{
		fieldMessageID: m.ID, fieldCorrelationID: m.CorrelationID, fieldContentType: m.ContentType, fieldContentEncoding: m.ContentEncoding,
	}
	n = len(f)
	for n > 0 && f[n-1] == "" {
		n--
	}
	return f, n
}

// BatchSize returns how many bytes the message takes in a batch.
func (m *Message) BatchSize() int { return sectionHead + sizeOf(m.encodedSize()) }

// encodedSize returns the length of what appendTo appends.
func (m *Message) encodedSize() int {
	n := sectionHead + compoundHead
	fields, used := m.fields()
	for _, s := range fields[:used] {
		if s == "" {
			n++
			continue
		}
		n += sizeOf(len(s))
	}
	if len(m.Properties) > 0 || !m.Created.IsZero() {
		n += sectionHead + compoundHead
	}
	for i := range m.Properties {
		if p := &m.Properties[i]; !m.overruled(p.Name) {
			n += sizeOf(len(p.Name)) + sizeOf(len(p.Value))
		}
	}
	if !m.Created.IsZero() {
		n += sizeOf(len(creationTime)) + sizeOf(len(creationStyle))
	}
	return n + sectionHead + sizeOf(len(m.Body))
}

// sizeOf returns the encoded size of a text or a binary of n bytes.
func sizeOf(n int) int {
	if n > 0xff {
		return 5 + n
	}
	return 2 + n
}

// appendTo appends the encoded message.
func (m *Message) appendTo(b []byte) []byte {
	b, start := openCompound(b, sectionProperties, typeList32)
	fields, used := m.fields()
	for i, s := range fields[:used] {
		switch {
		case s == "":
			b = append(b, typeNull)
		case i == fieldContentType || i == fieldContentEncoding:
			b = appendString(b, typeSymbol8, s)
		default:
			b = appendString(b, typeString8, s)
		}
	}
	closeCompound(b, start, used)
	if len(m.Properties) > 0 || !m.Created.IsZero() {
		b = m.appendProperties(b)
	}
	return append(appendData(b, len(m.Body)), m.Body...)
}

// appendData begins a data section of n bytes.
func appendData(b []byte, n int) []byte {
	return appendHead(append(b, 0, 0x53, sectionData), typeBinary8, n)
}

func (m *Message) appendProperties(b []byte) []byte {
	b, start := openCompound(b, sectionApplication, typeMap32)
	n := 0
	for i := range m.Properties {
		if p := &m.Properties[i]; !m.overruled(p.Name) {
			n += 2
			b = appendString(appendString(b, typeString8, p.Name), typeString8, p.Value)
		}
	}
	if !m.Created.IsZero() {
		n += 2
		b = appendString(b, typeString8, creationTime)
		b = appendTime(b, m.Created)
	}
	closeCompound(b, start, n)
	return b
}

// appendTime appends a time as creationStyle has it, in a quarter of the time that formatting takes.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return appendString(b, typeString8, t.Format(creationStyle))
	}
	hour, minute, second := t.Clock()
	b = appendHead(b, typeString8, len(creationStyle))
	b = append(appendDigits(appendDigits(b, year/100), year%100), '-')
	b = append(appendDigits(b, int(month)), '-')
	b = append(appendDigits(b, day), 'T')
	b = append(appendDigits(b, hour), ':')
	b = append(appendDigits(b, minute), ':')
	b = append(appendDigits(b, second), '.')
	millis := t.Nanosecond() / 1e6
	return append(appendDigits(b, millis/10), byte('0'+millis%10), 'Z')
}

// appendDigits appends two.
func appendDigits(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// overruled reports whether Created takes the place of the property of that name.
func (m *Message) overruled(name string) bool { return name == creationTime && !m.Created.IsZero() }

// openCompound begins a section that is a list or a map; closeCompound fills in its size and count.
func openCompound(b []byte, section, code byte) (with []byte, start int) {
	b = append(b, 0, 0x53, section, code, 0, 0, 0, 0, 0, 0, 0, 0)
	return b, len(b)
}

func closeCompound(b []byte, start, count int) {
	binary.BigEndian.PutUint32(b[start-8:], uint32(len(b)-start+4)) // the size covers the count
	binary.BigEndian.PutUint32(b[start-4:], uint32(count))
}

func appendString(b []byte, code byte, s string) []byte {
	return append(appendHead(b, code, len(s)), s...)
}

// appendHead begins a value of variable width; code is the type's with a length of one byte.
func appendHead(b []byte, code byte, n int) []byte {
	if n > 0xff {
		return binary.BigEndian.AppendUint32(append(b, code+typeWide), uint32(n))
	}
	return append(b, code, byte(n))
}
