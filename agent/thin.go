package agent

import (
	"slices"
	"time"

	"iotagent/outbox"
)

// Thinning makes room in a long outage: of the sensors that opted in, runs of readings become one reading with the smallest, the mean and
// the largest value of each measurement, before anything is dropped. docs/formats.md shows what comes out.
//
// The messages of a run are taken in batches. A batch ends with the message in which the busiest sensor has given enough readings; the windows of all
// sensors end with it, so that they cover about the same time and a batch stands for exactly its own messages. Small batches share
// a message, large ones are cut into as many as they need.

const (
	// windowUnits is how much one sensor gives until the batch is full: a reading counts 1, a thinned one thinnedUnits, because it is
	// about as long as two. Either way about a ninth of the bytes is left.
	windowUnits  = 20
	thinnedUnits = 2
	// maxWindow bounds a window where one message alone holds more than windowUnits.
	maxWindow = 2 * windowUnits
	// maxBatch bounds a batch where the sensors that opted in are rarely heard.
	maxBatch = 1000
)

// NewThinner returns what thins the readings of the sensors named and leaves everything else byte for byte as it is; messages stay
// within maxMessageBytes, counted as PackOptions.MaxMessageBytes. Only messages in FormatJSON are thinned. It returns nil, which thins nothing, when no sensor is named.
func NewThinner(sensors []string, maxMessageBytes int) outbox.Thinner {
	if len(sensors) == 0 {
		return nil
	}
	opted := make(map[string]bool, len(sensors))
	for _, name := range sensors {
		opted[name] = true
	}
	limit := PackOptions{MaxMessageBytes: maxMessageBytes}.withDefaults().MaxMessageBytes
	return func(lane outbox.Lane, run [][]byte) []outbox.Thinned {
		if lane == outbox.Alarm {
			return unchanged(len(run))
		}
		t := thinning{room: limit - thinnedOverhead(lane) - len("[")}
		b := newThinBatch(opted)
		for _, body := range run {
			created, readings, ok := readingsOf(body)
			if !ok { // not readings: nothing moves over it
				b = t.take(b)
				t.asIs(1)
				continue
			}
			b.message(created, readings)
			if b.full() {
				b = t.take(b)
			}
		}
		t.take(b)
		t.flush()
		return t.out
	}
}

// unchanged returns n times the word that a message stays as it is.
func unchanged(n int) []outbox.Thinned {
	out := make([]outbox.Thinned, n)
	for i := range out {
		out[i].Messages = 1
	}
	return out
}

// thinnedOverhead is overhead for a message that stands for several.
func thinnedOverhead(lane outbox.Lane) int {
	return overhead(lane, FormatJSON) + len(propSeqFrom) + len("18446744073709551615")
}

// readingsOf returns the readings of a message that the packer or the thinner made; ok is false for every other one, and where times are not known yet.
func readingsOf(body []byte) (created time.Time, readings [][]byte, ok bool) {
	e, err := decodeEnvelope(body)
	if err != nil || e.ContentType != contentJSON || e.ContentEncoding != encodingUTF || e.CorrelationID != "" || len(e.Properties) > 0 || e.Slots != nil {
		return time.Time{}, nil, false
	}
	readings, ok = jsonObjects(e.Body)
	return e.Created, readings, ok
}

// thinning is one call's work: the open message and what is finished.
type thinning struct {
	room int
	out  []outbox.Thinned
	open thinMessage
}

// thinMessage is a message under way.
type thinMessage struct {
	parts    []thinPart
	size     int
	messages int
	created  time.Time
}

// take adds a batch to the open message, or to one of its own, and returns a new batch.
func (t *thinning) take(b *thinBatch) *thinBatch {
	changed, parts := b.close()
	size := sizeOf(parts)
	switch {
	case !changed:
		t.asIs(b.messages)
	case size > t.room:
		t.flush()
		t.cut(b, parts)
	default:
		if t.open.size+size > t.room {
			t.flush()
		}
		t.open.parts = append(t.open.parts, parts...)
		t.open.size += size
		t.open.messages += b.messages
		t.open.created = b.created
	}
	return newThinBatch(b.opted)
}

// asIs leaves the next n messages as they are.
func (t *thinning) asIs(n int) {
	t.flush()
	t.out = append(t.out, unchanged(n)...)
}

// flush finishes the open message.
func (t *thinning) flush() {
	if t.open.messages > 0 {
		t.emit(t.open)
	}
	t.open = thinMessage{}
}

// cut makes several messages of a batch that is too large for one. Each stands for those in which its own readings began, as nearly as
// every message needs at least one to stand for.
func (t *thinning) cut(b *thinBatch, parts []thinPart) {
	var pieces []thinMessage
	for len(parts) > 0 {
		n, size := 1, parts[0].size()
		for n < len(parts) && size+parts[n].size() <= t.room {
			size += parts[n].size()
			n++
		}
		pieces = append(pieces, thinMessage{parts: parts[:n], created: b.created})
		parts = parts[n:]
	}
	if len(pieces) >= b.messages {
		t.asIs(b.messages)
		return
	}
	done := 0
	for i, p := range pieces {
		end := b.messages
		if left := len(pieces) - i - 1; left > 0 {
			end = min(max(pieces[i+1].parts[0].message, done+1), b.messages-left)
		}
		p.messages = end - done
		done = end
		t.emit(p)
	}
}

func (t *thinning) emit(m thinMessage) {
	var readings uint64
	body := make([]byte, 0, sizeOf(m.parts)+1)
	for i, p := range m.parts {
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		body = append(append(body, sep), p.text...)
		readings += p.readings
	}
	t.out = append(t.out, outbox.Thinned{
		Messages: m.messages, Readings: int(min(readings, 1<<31-1)),
		Body: readingsEnvelope(FormatJSON, m.created, append(body, ']')).Encode(),
	})
}

func sizeOf(parts []thinPart) int {
	n := 0
	for _, p := range parts {
		n += p.size()
	}
	return n
}

// thinBatch holds the readings of some consecutive messages, and a window for each sensor that opted in.
type thinBatch struct {
	opted    map[string]bool
	messages int
	created  time.Time
	parts    []thinPart
	windows  map[string]*window
	units    map[string]int
	busiest  int
	changed  bool
}

// thinPart is one reading of the result, thinned or as it was; text is empty when another has taken it in.
type thinPart struct {
	text     []byte
	readings uint64
	message  int // of the batch, from 0
}

// size counts the comma or bracket behind it.
func (p thinPart) size() int { return len(p.text) + 1 }

// window is a run of readings of one sensor that may become one.
type window struct {
	sum   reading
	parts []int // the readings in it, as indices of thinBatch.parts
	units int
	bytes int
}

func newThinBatch(opted map[string]bool) *thinBatch {
	return &thinBatch{opted: opted, windows: map[string]*window{}, units: map[string]int{}}
}

// full reports whether a window has grown enough.
func (b *thinBatch) full() bool { return b.busiest >= windowUnits || b.messages >= maxBatch }

// message takes in the readings of the next message.
func (b *thinBatch) message(created time.Time, readings [][]byte) {
	for _, text := range readings {
		b.reading(text)
	}
	b.messages++
	b.created = created
}

func (b *thinBatch) reading(text []byte) {
	part := thinPart{text: text, readings: 1, message: b.messages}
	sensor, known := sensorOf(text)
	switch {
	case !known: // whose it is nobody knows: nothing moves over it
		for name := range b.windows {
			b.end(name)
		}
	case b.opted[sensor]:
		r, ok := parseReading(text)
		if ok {
			part.readings = r.count
			b.window(sensor, &r, len(b.parts), part.size())
		} else {
			b.end(sensor)
		}
	}
	b.parts = append(b.parts, part)
}

// window takes the reading at index i into its sensor's window, or begins one with it.
func (b *thinBatch) window(sensor string, r *reading, i, size int) {
	units := 1
	if r.thinned {
		units = thinnedUnits
	}
	b.units[sensor] += units
	b.busiest = max(b.busiest, b.units[sensor])
	w := b.windows[sensor]
	if w != nil && w.units+units <= maxWindow && w.sum.mergeable(r) {
		w.sum.merge(r)
		w.parts, w.units, w.bytes = append(w.parts, i), w.units+units, w.bytes+size
		return
	}
	b.end(sensor)
	b.windows[sensor] = &window{sum: *r, parts: []int{i}, units: units, bytes: size}
}

// end closes a sensor's window: where one reading is shorter than those in it, it takes the place of the first.
func (b *thinBatch) end(sensor string) {
	w := b.windows[sensor]
	delete(b.windows, sensor)
	if w == nil || len(w.parts) < 2 {
		return
	}
	text := w.sum.finish().append(nil)
	if len(text)+1 >= w.bytes {
		return
	}
	b.changed = true
	for _, i := range w.parts {
		b.parts[i].text, b.parts[i].readings = nil, 0
	}
	b.parts[w.parts[0]].text, b.parts[w.parts[0]].readings = text, w.sum.count
}

// close ends every window and returns what is left of the batch, and whether that is anything new.
func (b *thinBatch) close() (changed bool, parts []thinPart) {
	for name := range b.windows {
		b.end(name)
	}
	return b.changed, slices.DeleteFunc(b.parts, func(p thinPart) bool { return len(p.text) == 0 })
}
