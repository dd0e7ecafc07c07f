package agent

import (
	"time"
	"unicode/utf8"

	"iotagent/internal/clock"
	"iotagent/outbox"
)

// QueueEntry is one queued message, gap or dead letter, for `iotagent queue list` and `export`. docs/formats.md shows it.
type QueueEntry struct {
	MessageID string `json:"message_id"`
	Lane      string `json:"lane"`
	// Put is when it was put, by the wall clock of that time.
	Put time.Time `json:"put"`
	// Size is what it takes in the outbox before compression, properties included.
	Size     int `json:"size"`
	Readings int `json:"readings"`
	// First is set on what was thinned: the message stands for First up to its own sequence number.
	First uint64 `json:"first,omitempty"`
	// Sent says that the hub may have it already.
	Sent    bool `json:"sent,omitempty"`
	Durable bool `json:"durable,omitempty"`
	// InFlight says that it is being sent; MemoryOnly that a power cut would take it.
	InFlight   bool `json:"in_flight,omitempty"`
	MemoryOnly bool `json:"memory_only,omitempty"`
	// Gap is set where messages are missing; there is no body then.
	Gap *DeclaredGap `json:"gap,omitempty"`
	// Rejected and Reason are set on dead letters: when the hub refused it for good, and why.
	Rejected *time.Time `json:"rejected,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	*Content
}

// Content is what goes to the hub with a message, under the names that `hubctl events` gives it. Body is set when it is UTF-8, BodyBase64
// when not.
type Content struct {
	CorrelationID   string            `json:"correlation_id,omitempty"`
	ContentType     string            `json:"content_type,omitempty"`
	ContentEncoding string            `json:"content_encoding,omitempty"`
	Properties      map[string]string `json:"properties"`
	Body            *string           `json:"body,omitempty"`
	BodyBase64      []byte            `json:"body_base64,omitempty"`
	// Damaged says why BodyBase64 holds the message as it lies in the outbox: it cannot be understood.
	Damaged string `json:"damaged,omitempty"`
}

// QueueReport is what queue-check and queue-repair found. docs/formats.md shows it.
type QueueReport struct {
	// Sound says that no file has a problem, or none any more.
	Sound bool        `json:"sound"`
	Files []QueueFile `json:"files"`
}

// QueueFile is one file's part of QueueReport.
type QueueFile struct {
	Name     string `json:"name"`
	Bytes    int64  `json:"bytes"`
	Messages uint64 `json:"messages"`
	Problem  string `json:"problem,omitempty"`
	Repaired bool   `json:"repaired,omitempty"`
	Lost     uint64 `json:"lost,omitempty"`
	AtMost   bool   `json:"at_most,omitempty"`
}

// QueuePurged is what queue-purge threw away or, as a dry run, would. docs/formats.md shows it.
type QueuePurged struct {
	Messages uint64       `json:"messages"`
	Readings uint64       `json:"readings"`
	Lanes    []LanePurged `json:"lanes,omitempty"`
	// DeadLetters are counted alone: they and what is queued are never purged in one request.
	DeadLetters uint64 `json:"dead_letters"`
}

// LanePurged is one lane's part of QueuePurged.
type LanePurged struct {
	Lane     string `json:"lane"`
	Messages uint64 `json:"messages"`
	Readings uint64 `json:"readings"`
}

func (o *queueOp) queuedEntry(it *outbox.Item) QueueEntry {
	e := o.newEntry(it.Entry, it.Put)
	e.Size, e.Sent, e.Durable = it.Size, it.Sent, it.Durable
	e.InFlight, e.MemoryOnly = it.InFlight, !it.OnDisk
	return e
}

func (o *queueOp) deadEntry(d *outbox.DeadLetter) QueueEntry {
	e := o.newEntry(outbox.Entry{ID: d.ID, First: d.ID.Seq, Body: d.Body, Readings: d.Readings, Gap: d.Gap}, d.Put)
	at := d.At.UTC().Truncate(time.Millisecond)
	e.Size, e.Rejected, e.Reason = len(d.Body), &at, d.Reason
	return e
}

func (o *queueOp) newEntry(x outbox.Entry, put time.Time) QueueEntry {
	e := QueueEntry{
		MessageID: x.ID.String(), Lane: x.ID.Lane.String(), Put: put.UTC().Truncate(time.Millisecond), Readings: x.Readings,
	}
	if x.First != 0 && x.First < x.ID.Seq {
		e.First = x.First
	}
	if x.Gap != nil {
		g := declared(x.Gap)
		e.Gap = &g
	}
	if o.req.Bodies {
		e.Content = content(x, o.known)
	}
	return e
}

func content(x outbox.Entry, known *clock.Anchors) *Content {
	m, err := message(x, known)
	if err != nil {
		return &Content{Properties: entryProperties(x.ID), BodyBase64: x.Body, Damaged: err.Error()}
	}
	c := &Content{
		CorrelationID: m.CorrelationID, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Properties: propertyMap(m.Properties),
	}
	if !m.Created.IsZero() {
		c.Properties[propCreated] = m.Created.UTC().Format(timeLayout)
	}
	switch {
	case x.Gap != nil: // shown as such
	case utf8.Valid(m.Body):
		text := string(m.Body)
		c.Body = &text
	default:
		c.BodyBase64 = m.Body
	}
	return c
}
