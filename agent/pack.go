package agent

import (
	"time"

	"iotagent/outbox"
	"iotagent/sensors"
)

// PackOptions says when a message is sealed (ARCHITECTURE.md).
type PackOptions struct {
	// MaxMessageBytes is the size that the hub meters: body, system property values, application properties. 0 means 4096.
	MaxMessageBytes int
	// FlushInterval is how long a reading may wait for others. 0 means 5 s.
	FlushInterval time.Duration
	// MaxLoss is the promise of the outbox; half of it bounds the wait too. 0 seals every reading at once.
	MaxLoss time.Duration
	// Format of the readings; "" means FormatJSON.
	Format Format
}

// Format is how readings are written into a message.
type Format string

// The formats that docs/formats.md shows.
const (
	FormatJSON  Format = "json"
	FormatSenML Format = "senml"
)

// contentType is what a message in this format says it is.
func (f Format) contentType() string {
	if f == FormatSenML {
		return contentSenML
	}
	return contentJSON
}

func (o PackOptions) withDefaults() PackOptions {
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = 4096
	}
	if o.Format == "" {
		o.Format = FormatJSON
	}
	if o.FlushInterval == 0 {
		o.FlushInterval = 5 * time.Second
	}
	return o
}

// wait is how long a reading may lie in an open message.
func (o PackOptions) wait() time.Duration {
	return min(o.FlushInterval, o.MaxLoss/2)
}

// sealed is a message on its way to the outbox. Its Age is set when it gets there, which may be later than now.
type sealed struct {
	outbox.Message
	oldest time.Duration // monotonic time of the oldest reading
}

// batch is the open message of one lane: readings that wait for company.
type batch struct {
	lane   outbox.Lane
	format Format
	senml  senml // the state of the open message, when that is the format
	room   int   // bytes of body that still make one metered message
	body   []byte
	count  int
	oldest time.Duration // monotonic time of the oldest reading
	last   sensors.Reading
	slots  []Slot // of body, all of the boot of last
}

func newBatch(lane outbox.Lane, o PackOptions) *batch {
	return &batch{lane: lane, format: o.Format, room: o.MaxMessageBytes - overhead(lane, o.Format)}
}

// overhead is what the hub meters of a message of readings besides its body, at its largest.
func overhead(lane outbox.Lane, f Format) int {
	id := outbox.ID{Epoch: ^uint64(0), Lane: lane, Seq: ^uint64(0)}
	m, err := message(outbox.Entry{ID: id, Body: readingsEnvelope(f, time.Now(), nil).Encode()}, nil)
	if err != nil { // our own encoding always decodes
		return 0
	}
	return m.Size()
}

func readingsEnvelope(f Format, created time.Time, body []byte) *Envelope {
	return &Envelope{ContentType: f.contentType(), ContentEncoding: encodingUTF, Created: created, Body: body}
}

// add takes a reading in and returns the sealed message that had no room for it, if any.
func (b *batch) add(r *sensors.Reading) (full *sealed) {
	slots := len(b.slots)
	grown := b.append(b.body, r)
	if b.count > 0 && (len(grown)+len("]") > b.room || r.At.Boot != b.last.At.Boot) {
		b.slots = b.slots[:slots]
		full = b.seal() // without r, which was written behind what is sealed
		grown = b.append(nil, r)
	}
	if b.count == 0 {
		b.oldest = r.At.Mono
	}
	b.oldest = min(b.oldest, r.At.Mono) // one that took long may come after one that began later
	b.body = grown
	b.count++
	b.last = *r
	return full
}

// append writes a reading behind those of the body.
func (b *batch) append(body []byte, r *sensors.Reading) []byte {
	if b.format == FormatSenML {
		return b.senml.add(body, r, &b.slots)
	}
	sep := byte(',')
	if len(body) == 0 {
		sep = '['
	}
	return appendReading(append(body, sep), r, &b.slots)
}

// seal closes the open message and starts an empty one; nil when there is nothing to seal.
func (b *batch) seal() *sealed {
	if b.count == 0 {
		return nil
	}
	e := readingsEnvelope(b.format, time.Time{}, append(b.body, ']'))
	at, known := b.last.At.True()
	if known {
		e.Created = at
	}
	if len(b.slots) > 0 {
		e.Slots = &Slots{Boot: b.last.At.Boot, At: b.slots}
		if !known {
			e.Slots.Created = b.last.At.Mono
		}
	}
	m := &sealed{oldest: b.oldest, Message: outbox.Message{Lane: b.lane, Readings: b.count, Body: e.Encode()}}
	b.body, b.count, b.senml, b.slots = nil, 0, senml{}, nil
	return m
}

// due reports whether the open message has waited long enough at the monotonic time now.
func (b *batch) due(now, wait time.Duration) bool {
	return b.count > 0 && now-b.oldest >= wait
}
