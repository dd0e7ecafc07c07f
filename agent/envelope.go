package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"iotagent/iothub"
	"iotagent/outbox"
)

// Envelope is a message as it lies in the outbox: everything that goes on the wire but what the outbox itself
// gives it (message-id, epoch, lane, seq). Its bytes never change between the put and the last retry.
type Envelope struct {
	// ContentType and ContentEncoding of Body; empty means none is sent.
	ContentType, ContentEncoding string
	// CorrelationID is set on result messages.
	CorrelationID string
	// Created is sent as iothub-creation-time-utc, to the millisecond; zero when the clock was not to be believed.
	Created time.Time
	// Properties are application properties.
	Properties map[string]string
	// Body is the payload.
	Body []byte
}

const (
	contentJSON = "application/json"
	encodingUTF = "utf-8"

	envelopeVersion = 1
	maxProperties   = 100
)

// The application properties that every message carries, so that the cloud sees each hole by itself (ARCHITECTURE.md).
const (
	propEpoch = "epoch"
	propLane  = "lane"
	propSeq   = "seq"
	// propSeqFrom is there on a message that stands for all from that number to seq.
	propSeqFrom = "seq_from"
	// propKind tells messages that are not readings: "gap", "command-result"; absent on readings.
	propKind = "kind"
	// propCreated is Envelope.Created, added by package iothub.
	propCreated = "iothub-creation-time-utc"
)

// reservedProperty reports whether the agent sets that property itself.
func reservedProperty(name string) bool {
	switch name {
	case propEpoch, propLane, propSeq, propSeqFrom, propKind, propCreated:
		return true
	}
	return false
}

var errEnvelope = errors.New("envelope damaged")

// Encode returns the bytes to put: a version byte, the four header fields, the properties in order of their names,
// then the body up to the end. Every text has its length in front.
func (e *Envelope) Encode() []byte {
	b := make([]byte, 0, 64+len(e.Body))
	b = append(b, envelopeVersion)
	for _, s := range []string{e.ContentType, e.ContentEncoding, e.CorrelationID} {
		b = appendText(b, s)
	}
	millis := int64(0)
	if !e.Created.IsZero() {
		millis = e.Created.UnixMilli()
	}
	b = binary.AppendVarint(b, millis)
	b = binary.AppendUvarint(b, uint64(len(e.Properties)))
	for _, k := range slices.Sorted(maps.Keys(e.Properties)) {
		b = appendText(appendText(b, k), e.Properties[k])
	}
	return append(b, e.Body...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeEnvelope is the inverse of Encode; Body shares b's memory.
func decodeEnvelope(b []byte) (*Envelope, error) {
	if len(b) == 0 || b[0] != envelopeVersion {
		return nil, fmt.Errorf("%w: unknown version", errEnvelope)
	}
	r := envelopeReader{rest: b[1:]}
	e := &Envelope{ContentType: r.text(), ContentEncoding: r.text(), CorrelationID: r.text()}
	if millis := r.varint(); millis != 0 {
		e.Created = time.UnixMilli(millis).UTC()
	}
	n := r.uvarint()
	if n > maxProperties {
		return nil, fmt.Errorf("%w: %d properties", errEnvelope, n)
	}
	if n > 0 {
		e.Properties = make(map[string]string, n)
	}
	for range n {
		k := r.text()
		e.Properties[k] = r.text()
	}
	if r.bad {
		return nil, fmt.Errorf("%w: cut short", errEnvelope)
	}
	e.Body = r.rest
	return e, nil
}

// envelopeReader reads fields one after the other; after the first that is cut short it only returns zeros.
type envelopeReader struct {
	rest []byte
	bad  bool
}

func (r *envelopeReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	return v * r.took(n)
}

func (r *envelopeReader) varint() int64 {
	v, n := binary.Varint(r.rest)
	return v * int64(r.took(n))
}

func (r *envelopeReader) took(n int) uint64 {
	if n <= 0 || r.bad {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return 1
}

func (r *envelopeReader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// message makes the telemetry message of an entry: what was put, with the outbox's id and place.
func message(entry outbox.Entry) (*iothub.Message, error) {
	e, err := entryEnvelope(entry)
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", entry.ID, err)
	}
	props := entryProperties(entry.ID)
	if entry.Gap == nil && entry.First > 0 && entry.First < entry.ID.Seq {
		props[propSeqFrom] = fmt.Sprint(entry.First)
	}
	maps.Copy(props, e.Properties)
	return &iothub.Message{
		ID:              entry.ID.String(),
		CorrelationID:   e.CorrelationID,
		ContentType:     e.ContentType,
		ContentEncoding: e.ContentEncoding,
		Created:         e.Created,
		Properties:      props,
		Body:            e.Body,
	}, nil
}

func entryProperties(id outbox.ID) map[string]string {
	return map[string]string{propEpoch: epochText(id.Epoch), propLane: id.Lane.String(), propSeq: fmt.Sprint(id.Seq)}
}

func entryEnvelope(entry outbox.Entry) (*Envelope, error) {
	if entry.Gap != nil {
		return gapEnvelope(entry.Gap), nil
	}
	return decodeEnvelope(entry.Body)
}

func epochText(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }

// maxHubMessage is what IoT Hub takes at most, counted as it counts (Microsoft, "Understand and choose message formats in IoT Hub": 256 KB).
const maxHubMessage = 256 << 10

// fits refuses a message that the hub would refuse.
func fits(lane outbox.Lane, e *Envelope) error {
	id := outbox.ID{Epoch: ^uint64(0), Lane: lane, Seq: ^uint64(0)}
	m, err := message(outbox.Entry{ID: id, Body: e.Encode()})
	if err != nil {
		return err
	}
	if n := m.Size(); n > maxHubMessage {
		return fmt.Errorf("the message has %d bytes, properties included; IoT Hub takes %d", n, maxHubMessage)
	}
	return nil
}
