package agent

import (
	"context"
	"log/slog"
	"time"

	"iotagent/c2d"
	"iotagent/internal/clock"
	"iotagent/iothub"
	"iotagent/outbox"
	"iotagent/sensors"
)

// What the tests of formats and packing look at.

func DecodeEnvelope(b []byte) (*Envelope, error) { return decodeEnvelope(b) }

func PropertyMap(ps []iothub.Property) map[string]string { return propertyMap(ps) }

func MessageOf(e outbox.Entry) (*iothub.Message, error) { return message(e, nil) }

// MessageAt is MessageOf with the times that are known.
func MessageAt(e outbox.Entry, known *clock.Anchors) (*iothub.Message, error) {
	return message(e, known)
}

func ReadingJSON(r *sensors.Reading) []byte { return appendReading(nil, r, nil) }

// ReadingCount returns how many readings one JSON object stands for, as far as thinning knows.
func ReadingCount(text []byte) uint64 {
	if r, ok := parseReading(text); ok {
		return r.count
	}
	return 1
}

func JSONObjects(text []byte) ([][]byte, bool) { return jsonObjects(text) }

func GapEnvelope(g *outbox.Gap) *Envelope { return gapEnvelope(g) }

func ResultEnvelope(r c2d.Report) *Envelope { return resultEnvelope(r) }

// Batch is the open message of a lane.
type Batch struct{ b *batch }

func NewBatch(l outbox.Lane, o PackOptions) Batch { return Batch{newBatch(l, o.withDefaults())} }

func (b Batch) Add(r *sensors.Reading) *outbox.Message { return bare(b.b.add(r)) }

func (b Batch) Seal() *outbox.Message { return bare(b.b.seal()) }

func bare(m *sealed) *outbox.Message {
	if m == nil {
		return nil
	}
	return &m.Message
}

// Packer packs readings without an agent around it.
type Packer struct{ p *packer }

func NewPacker(q outbox.Queue, c *clock.Clock, log *slog.Logger, o PackOptions) Packer {
	return Packer{newPacker(q, c, log, newPulse(), o)}
}

func (p Packer) Emit(l outbox.Lane, r sensors.Reading) { p.p.emit(l, r) }

func (p Packer) Run(ctx context.Context) { p.p.run(ctx) }

func (p Packer) Close() { close(p.p.in) }

func (p Packer) Stuck() string { return p.p.pulse.stuck() }

func (p Packer) Counts() PackCounts { return p.p.snapshot() }

// Written is the memory of what was written when.
type Written struct{ w *written }

func NewWritten(start time.Duration) Written { return Written{&written{start: start}} }

func (w Written) Note(now time.Duration, q *outbox.Stats) { w.w.note(now, q) }

func (w Written) Marks() int { return len(w.w.marks) }

func (w Written) Today(now *clock.Stamp, local time.Time, q *outbox.Stats) (bytes, commits uint64, sinceStart bool) {
	return w.w.today(now, local, q)
}

func NewPulse() *pulse { return newPulse() }

func (p *pulse) Within(loop string, d time.Duration) { p.within(loop, d) }

func (p *pulse) Done(loop string) { p.done(loop) }

func (p *pulse) Feed(ctx context.Context, d time.Duration, notify, complain func(string)) {
	p.feed(ctx, d, notify, complain)
}
