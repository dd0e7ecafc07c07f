package agent

import (
	"time"

	"iotagent/internal/clock"
	"iotagent/iothub"
	"iotagent/outbox"
)

const (
	// batchBytes is how large a batch is made, encoded: far below the hub's 256 KiB, for what is larger is hardly faster and is resent as a whole.
	batchBytes = 64 << 10
	// batchLeast is how many messages must wait together to be sent together; fewer are no backlog.
	batchLeast = 8
)

// parcel is what goes out in one transfer: one message, or some of one lane in the batch format.
type parcel struct {
	items []item
	alarm bool
	// bytes is its encoded size.
	bytes int64
	// messages is nil once it was sent.
	messages []*iothub.Message
	group    uint64

	sent    time.Time
	receipt *iothub.Receipt
}

// item is what is kept of an entry until it is settled.
type item struct {
	id outbox.ID
	// size is what the hub counts, encoded what it takes in a batch.
	size, encoded int32
}

// packing makes parcels of entries.
type packing struct {
	// messages and bytes bound a batch; 1 message makes none.
	messages int
	bytes    int64
	groupOf  func(outbox.ID) uint64
	known    *clock.Anchors

	out []parcel
	// open is the last one. Its slices are parts of those here, which hold what all parcels consist of.
	open  parcel
	items []item
	paper
}

// paper is what messages are written on. It can be used again when all of them were sent.
type paper struct {
	all   []*iothub.Message
	made  []iothub.Message
	props []iothub.Property
}

func (p *paper) lay(n int) {
	if cap(p.made) < n {
		*p = paper{all: make([]*iothub.Message, n), made: make([]iothub.Message, n), props: make([]iothub.Property, n*usualProperties)}
	}
	p.all, p.made, p.props = p.all[:0], p.made[:n], p.props[:n*usualProperties]
}

// usualProperties is room for the properties of a message of readings.
const usualProperties = 4

// pack puts entries into parcels, in their order. What cannot be sent at all is given to bury.
func (p *packing) pack(entries []outbox.Entry, bury func(id outbox.ID, why string)) []parcel {
	n := len(entries)
	p.items = make([]item, 0, n)
	p.lay(n)
	for i := range entries {
		m := &p.made[i]
		room := p.props[i*usualProperties : i*usualProperties : (i+1)*usualProperties]
		if err := fillMessage(m, &entries[i], room, p.known); err != nil {
			bury(entries[i].ID, err.Error())
			continue
		}
		p.add(entries[i].ID, m)
	}
	p.seal()
	return p.out
}

func (p *packing) add(id outbox.ID, m *iothub.Message) {
	size, group, alarm := int64(m.BatchSize()), p.groupOf(id), id.Lane == outbox.Alarm
	n := len(p.open.items)
	together := n > 0 && n < p.messages && !alarm && p.open.items[0].id.Lane == id.Lane && p.open.group == group && p.open.bytes+size <= p.bytes
	if !together {
		p.seal()
		p.open = parcel{alarm: alarm, group: group}
	}
	p.items = append(p.items, item{id: id, size: int32(m.Size()), encoded: int32(size)})
	p.all = append(p.all, m)
	n = len(p.open.items) + 1
	p.open.items = p.items[len(p.items)-n:]
	p.open.messages = p.all[len(p.all)-n:]
	p.open.bytes += size
}

// seal ends the last parcel. A few messages go one by one, unless they are what is left of a refused batch.
func (p *packing) seal() {
	o := p.open
	p.open = parcel{}
	if len(o.items) >= batchLeast || len(o.items) == 1 || o.group != 0 {
		p.out = append(p.out, o)
		return
	}
	for i := range o.items {
		p.out = append(p.out, parcel{items: o.items[i : i+1], messages: o.messages[i : i+1], bytes: int64(o.items[i].encoded)})
	}
}
