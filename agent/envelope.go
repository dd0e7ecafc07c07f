package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"iotagent/internal/clock"
	"iotagent/iothub"
	"iotagent/outbox"
)

// Envelope is a message as it lies in the outbox: everything that goes on the wire but what the outbox itself
// gives it (message-id, epoch, lane, seq), and the times in its slots. Its bytes never change between the put and the last retry.
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
	// Slots are the places of Body that are filled when the message is sent; nil for none.
	Slots *Slots
}

const (
	contentJSON  = "application/json"
	contentSenML = "application/senml+json"
	encodingUTF  = "utf-8"

	// envelopeVersion is that of an envelope without slots, slottedVersion that of one with some.
	envelopeVersion = 1
	slottedVersion  = 2
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

// Encode returns the bytes to put: a version byte, the four header fields, the properties in order of their names, the slots where there are some,
// then the body up to the end. Every text has its length in front.
func (e *Envelope) Encode() []byte {
	b := make([]byte, 0, 64+len(e.Body))
	version := byte(envelopeVersion)
	if e.Slots != nil {
		version = slottedVersion
	}
	b = append(b, version)
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
	if e.Slots != nil {
		b = e.Slots.encode(b)
	}
	return append(b, e.Body...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeEnvelope is the inverse of Encode; Body shares b's memory.
func decodeEnvelope(b []byte) (*Envelope, error) {
	e := &Envelope{}
	props, err := e.decode(b, nil)
	if err != nil {
		return nil, err
	}
	if len(props) > 0 {
		e.Properties = propertyMap(props)
	}
	return e, nil
}

// decode reads all but the properties, which it appends to props.
func (e *Envelope) decode(b []byte, props []iothub.Property) ([]iothub.Property, error) {
	if len(b) == 0 || b[0] != envelopeVersion && b[0] != slottedVersion {
		return nil, fmt.Errorf("%w: unknown version", errEnvelope)
	}
	r := envelopeReader{rest: b[1:]}
	e.ContentType, e.ContentEncoding, e.CorrelationID = r.text(), r.text(), r.text()
	if millis := r.varint(); millis != 0 {
		e.Created = time.UnixMilli(millis).UTC()
	}
	n := r.uvarint()
	if n > maxProperties {
		return nil, fmt.Errorf("%w: %d properties", errEnvelope, n)
	}
	for range n {
		props = append(props, iothub.Property{Name: r.text(), Value: r.text()})
	}
	if b[0] == slottedVersion {
		e.Slots = r.slots()
	}
	if r.bad {
		return nil, fmt.Errorf("%w: cut short", errEnvelope)
	}
	e.Body = r.rest
	if e.Slots != nil {
		return props, e.Slots.check(e.Body)
	}
	return props, nil
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
	text := r.rest[:n]
	r.rest = r.rest[n:]
	switch string(text) { // what nearly all have costs no memory
	case contentJSON:
		return contentJSON
	case contentSenML:
		return contentSenML
	case encodingUTF:
		return encodingUTF
	}
	return string(text)
}

// message makes the telemetry message of an entry: what was put, with the outbox's id and place, and the times that are known.
func message(entry outbox.Entry, known *clock.Anchors) (*iothub.Message, error) {
	m := &iothub.Message{}
	if err := fillMessage(m, &entry, nil, known); err != nil {
		return nil, err
	}
	return m, nil
}

// fillMessage is message for a message that is there already; it appends the properties to props.
func fillMessage(m *iothub.Message, entry *outbox.Entry, props []iothub.Property, known *clock.Anchors) error {
	id, epoch, seq := idText(entry.ID)
	props = append(props, iothub.Property{Name: propEpoch, Value: epoch}, iothub.Property{Name: propLane, Value: entry.ID.Lane.String()},
		iothub.Property{Name: propSeq, Value: seq})
	var e Envelope
	if entry.Gap != nil {
		e = *gapEnvelope(entry.Gap)
		for _, k := range slices.Sorted(maps.Keys(e.Properties)) {
			props = append(props, iothub.Property{Name: k, Value: e.Properties[k]})
		}
	} else {
		if entry.First > 0 && entry.First < entry.ID.Seq {
			props = append(props, iothub.Property{Name: propSeqFrom, Value: strconv.FormatUint(entry.First, 10)})
		}
		var err error
		if props, err = e.decode(entry.Body, props); err != nil {
			return fmt.Errorf("message %s: %w", id, err)
		}
		e.settle(known)
	}
	*m = iothub.Message{
		ID: id, CorrelationID: e.CorrelationID, ContentType: e.ContentType, ContentEncoding: e.ContentEncoding,
		Created: e.Created, Properties: props, Body: e.Body,
	}
	return nil
}

// idText is id.String, and its parts; all share memory.
func idText(id outbox.ID) (text, epoch, seq string) {
	const digits = "0123456789abcdef"
	var buf [64]byte
	b := buf[:0]
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[id.Epoch>>shift&0xf])
	}
	b = append(append(append(b, '-'), id.Lane.String()...), '-')
	n := len(b)
	text = string(strconv.AppendUint(b, id.Seq, 10))
	return text, text[:len("0123456789abcdef")], text[n:]
}

func propertyMap(props []iothub.Property) map[string]string {
	m := make(map[string]string, len(props))
	for _, p := range props {
		m[p.Name] = p.Value
	}
	return m
}

func entryProperties(id outbox.ID) map[string]string {
	_, epoch, seq := idText(id)
	return map[string]string{propEpoch: epoch, propLane: id.Lane.String(), propSeq: seq}
}

func epochText(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }

// maxHubMessage is what IoT Hub takes at most, counted as it counts (Microsoft, "Understand and choose message formats in IoT Hub": 256 KB).
const maxHubMessage = 256 << 10

// fits refuses a message that the hub would refuse.
func fits(lane outbox.Lane, e *Envelope) error {
	id := outbox.ID{Epoch: ^uint64(0), Lane: lane, Seq: ^uint64(0)}
	m, err := message(outbox.Entry{ID: id, Body: e.Encode()}, nil)
	if err != nil {
		return err
	}
	if n := m.Size(); n > maxHubMessage {
		return fmt.Errorf("the message has %d bytes, properties included; IoT Hub takes %d", n, maxHubMessage)
	}
	return nil
}
