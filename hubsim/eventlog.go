package hubsim

import (
	"encoding/base64"
	"hash/fnv"
	"maps"
	"sort"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/Azure/go-amqp"
)

// Event is one telemetry message that the hub has accepted, in the shape of `hubsim --events`.
type Event struct {
	Device      string            `json:"device"`
	Partition   int               `json:"partition"`
	Sequence    int64             `json:"sequence"`
	Offset      string            `json:"offset"`
	Enqueued    EventTime         `json:"enqueued"`
	MessageID   string            `json:"message_id"`
	ContentType string            `json:"content_type"`
	Properties  map[string]string `json:"properties"`
	Annotations map[string]any    `json:"annotations"`
	// Body is the body when it is UTF-8, BodyBase64 when it is not; one of the two is set.
	Body       *string `json:"body,omitempty"`
	BodyBase64 *string `json:"body_base64,omitempty"`

	message *amqp.Message
	nth     int64 // over all partitions
	offset  int64
}

// EventTime is a time that JSON shows in RFC 3339 with milliseconds, in UTC.
type EventTime struct{ time.Time }

// MarshalJSON returns the time as a JSON string.
func (t EventTime) MarshalJSON() ([]byte, error) {
	return []byte(`"` + t.UTC().Format("2006-01-02T15:04:05.000Z") + `"`), nil
}

// Data returns the body as bytes.
func (e *Event) Data() []byte { return bodyOf(e.message) }

// partition is one log of events, bounded by count.
type partition struct {
	events  []*Event
	readers map[*link]bool
	next    int64 // sequence number of the next event
	bytes   int64 // offset of the next event
}

// partitionOf keeps a device in one partition, so that its order holds.
func partitionOf(device string, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(device)) // never fails
	return int(int64(h.Sum32()) % int64(n))
}

// append stores an event and stamps it with its place; keep bounds the log.
func (p *partition) append(e *Event, size, keep int) {
	e.Sequence, e.offset = p.next, p.bytes
	e.Offset = strconv.FormatInt(e.offset, 10)
	p.next++
	p.bytes += int64(size)
	if len(p.events) >= keep {
		clear(p.events[:len(p.events)-keep+1])
		p.events = p.events[len(p.events)-keep+1:]
	}
	p.events = append(p.events, e)
}

// from returns the sequence number of the first event that match accepts, or the one that the next event will get.
func (p *partition) from(match func(*Event) bool) int64 {
	i := sort.Search(len(p.events), func(i int) bool { return match(p.events[i]) })
	if i == len(p.events) {
		return p.next
	}
	return p.events[i].Sequence
}

// at returns the event with that sequence number or, when retention took it, the oldest one kept; nil at the end.
func (p *partition) at(seq int64) *Event {
	if len(p.events) == 0 || seq >= p.next {
		return nil
	}
	return p.events[max(seq-p.events[0].Sequence, 0)]
}

// newEvent makes the stored form of a telemetry message: the client's sections, the hub's annotations over them.
func newEvent(m *amqp.Message, d *device, authMethod string, now time.Time) *Event {
	e := &Event{
		Device: d.id, Enqueued: EventTime{now.UTC().Truncate(time.Millisecond)},
		Properties: map[string]string{}, Annotations: map[string]any{}, message: m,
	}
	annotations := maps.Clone(m.Annotations)
	if annotations == nil {
		annotations = amqp.Annotations{}
	}
	annotations["iothub-connection-device-id"] = d.id
	delete(annotations, "iothub-connection-module-id") // the hub's word alone
	if d.module != "" {
		annotations["iothub-connection-module-id"] = d.module
	}
	annotations["iothub-connection-auth-method"] = authMethod
	annotations["iothub-connection-auth-generation-id"] = d.generation
	annotations["iothub-enqueuedtime"] = e.Enqueued.Time
	annotations["iothub-message-source"] = "Telemetry"
	m.Annotations = annotations
	e.describe()
	return e
}

// describe shows the message in the event's own fields.
func (e *Event) describe() {
	if p := e.message.Properties; p != nil {
		e.MessageID = idText(p.MessageID)
		e.ContentType = deref(p.ContentType)
	}
	for k, v := range e.message.ApplicationProperties {
		e.Properties[k] = plainText(v)
	}
	e.setBody(bodyOf(e.message))
}

// stamp adds the annotations that tell the event's place, once it has one.
func (e *Event) stamp(partition int) {
	e.Partition = partition
	a := e.message.Annotations
	a["x-opt-sequence-number"] = e.Sequence
	a["x-opt-offset"] = e.Offset
	a["x-opt-enqueued-time"] = e.Enqueued.Time
	a["x-opt-partition-key"] = e.Device
	for k, v := range a {
		e.Annotations[plainText(k)] = plainValue(v)
	}
}

func (e *Event) setBody(data []byte) {
	if utf8.Valid(data) {
		text := string(data)
		e.Body = &text
		return
	}
	text := base64.StdEncoding.EncodeToString(data)
	e.BodyBase64 = &text
}
