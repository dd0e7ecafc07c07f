package outbox

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
)

// The reasons of a Gap.
const (
	reasonQuota   = "quota"
	reasonMemory  = "memory"
	reasonDamage  = "damage"
	reasonUnclean = "unclean-stop"
	reasonPurged  = "purged"
)

// gapEntry is a Gap that waits to be handed out, behind its place in its lane.
type gapEntry struct {
	id    ID
	place uint64
	gap   Gap
	put   int64 // ms
	state slotState
	sent  bool
	// shut: it was shown, or an earlier process made it, and does not grow any more.
	shut bool
	// fresh: it is not on disk as it stands here, and is not handed out before.
	fresh bool
	// gone: acknowledged, or put to the dead letters.
	gone bool
}

const gapVersion = 1

// gapValue is how control.db keeps it.
type gapValue struct {
	Put int64 `json:"put"`
	Gap Gap   `json:"gap"`
}

func (g *gapEntry) key() []byte {
	b := append([]byte{byte(g.id.Lane)}, bigEndian(g.place)...)
	return append(append(b, bigEndian(g.id.Epoch)...), bigEndian(g.id.Seq)...)
}

func (g *gapEntry) encode() []byte {
	text, err := json.Marshal(gapValue{Put: g.put, Gap: g.gap})
	if err != nil { // a struct of numbers and a string cannot fail
		text = []byte("{}")
	}
	return seal(gapVersion, g.key(), text)
}

func decodeGap(k, v []byte) (*gapEntry, error) {
	text, err := unseal(gapVersion, k, v)
	var x gapValue
	if err == nil {
		err = json.Unmarshal(text, &x)
	}
	if err != nil || len(k) != 25 || k[0] >= lanes {
		return nil, fmt.Errorf("gap %x: %w", k, errSeal)
	}
	return &gapEntry{
		id:    ID{Lane: Lane(k[0]), Epoch: binary.BigEndian.Uint64(k[9:]), Seq: binary.BigEndian.Uint64(k[17:])},
		place: binary.BigEndian.Uint64(k[1:]), gap: x.Gap, put: x.Put, shut: true,
	}, nil
}

func (g *gapEntry) entry(sent bool) Entry {
	c := g.gap
	return Entry{ID: g.id, First: g.id.Seq, Gap: &c, Sent: sent}
}

// lossLocked declares messages lost that stood up to place. A loss that goes on where the last one of its kind ended joins it.
func (o *Outbox) lossLocked(place uint64, g Gap) {
	l := &o.lane[g.Lane]
	o.gapsChanged = true
	if n, _ := slices.BinarySearchFunc(l.gaps, place, func(x *gapEntry, p uint64) int { return cmp.Compare(x.place, p) }); n > 0 {
		if last := l.gaps[n-1]; !last.shut && last.gap.grows(&g) && !l.waitsBetween(last.place, place) {
			last.gap.To = g.To
			last.gap.Messages += g.Messages
			last.gap.Readings += g.Readings
			last.gap.AtMost = last.gap.AtMost || g.AtMost
			last.place, last.fresh = place, true
			return
		}
	}
	l.seq++
	o.hollowLocked(g.Lane, placeOf(o.run, l.seq))
	e := &gapEntry{id: ID{Epoch: o.epoch, Lane: g.Lane, Seq: l.seq}, place: place, gap: g, put: o.nowMillis(), fresh: true}
	at, _ := slices.BinarySearchFunc(l.gaps, e, func(a, b *gapEntry) int { return bytes.Compare(a.key(), b.key()) })
	l.gaps = slices.Insert(l.gaps, at, e)
}

func (g *Gap) grows(next *Gap) bool {
	return g.Reason == next.Reason && g.Epoch == next.Epoch && g.Epoch != 0 && g.To != 0 && g.To < next.From
}

// waitsBetween says whether something that was handed out and not settled stands between two places.
func (l *lane) waitsBetween(from, to uint64) bool {
	for i := l.win.search(from + 1); i < l.win.len() && l.win.at(i).place < to; i++ {
		if l.win.at(i).state != done {
			return true
		}
	}
	return false
}

// dropGapLocked forgets a gap that was acknowledged or refused.
func (o *Outbox) dropGapLocked(g *gapEntry) {
	l := &o.lane[g.id.Lane]
	g.gone = true
	l.gaps = slices.DeleteFunc(l.gaps, func(x *gapEntry) bool { return x == g })
	o.gapsChanged = true
}
