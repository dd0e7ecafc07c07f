package segment

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"reflect"
	"testing"

	"iotagent/outbox/internal/boltfile"
)

func samples() []Record {
	return []Record{
		{Pos: 1<<40 | 7, Put: 1_772_323_200_000, Flags: 0, Readings: 1, Body: []byte(`{"sensor":"hall-1","temperature_c":21.35}`)},
		{Pos: 1<<40 | 8, Put: 1_772_323_200_100, Flags: 2, Readings: 12, Body: []byte(`{"sensor":"hall-2","temperature_c":21.36}`)},
		{Pos: 1<<40 | 500, Put: 1_772_323_199_000, Flags: 0x83, Readings: 86_400, Span: 491, Body: []byte(`{"sensor":"hall-1","temperature_c":{"min":21.1,"max":22.0}}`)},
		{Pos: 1<<40 | 501, Put: 1_772_323_200_200, Flags: 1, Body: []byte{}},
		{Pos: math.MaxUint64, Put: math.MinInt64, Flags: 0xFF, Readings: math.MaxUint32, Span: math.MaxUint64, Body: []byte("x")},
	}
}

func encode(c *Codec, lane uint8, recs []Record) (first uint64, b []byte) {
	var w builder
	w.reset(lane)
	for i := range recs {
		w.add(&recs[i])
	}
	return w.h.first, c.appendBlock(nil, &w.h, w.raw())
}

// FuzzBlock gives the decoder blocks with a right checksum, so that it gets to see the rest.
func FuzzBlock(f *testing.F) {
	c := NewCodec()
	for n := range samples() {
		first, b := encode(c, 1, samples()[:n+1])
		f.Add(uint8(1), first, b)
	}
	many := bytes.Repeat([]byte("12 sensors "), 40)
	first, b := encode(c, 2, []Record{{Pos: 3, Body: many}, {Pos: 4, Body: many}})
	f.Add(uint8(2), first, b)
	f.Fuzz(func(t *testing.T, lane uint8, first uint64, b []byte) {
		if len(b) >= 4 {
			binary.BigEndian.PutUint32(b, checksum(lane, first, b[4:]))
		}
		recs, err := c.decode(lane, first, b)
		if err != nil {
			if !boltfile.IsDamage(err) {
				t.Errorf("not a damage error: %v", err)
			}
			return
		}
		if f, again := encode(c, lane, recs); f == first {
			if got, err := c.decode(lane, first, again); err != nil || !reflect.DeepEqual(got, recs) {
				t.Errorf("%v came back as %v, %v", recs, got, err)
			}
		} else {
			t.Errorf("block at %d has its first record at %d", first, f)
		}
	})
}

// FuzzSummary does the same for the summary.
func FuzzSummary(f *testing.F) {
	f.Add((&Summary{}).append(nil))
	f.Add(sampleSummary().append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 4 {
			binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], crc32.MakeTable(crc32.Castagnoli)))
		}
		s, err := decodeSummary(b)
		if err != nil {
			if !boltfile.IsDamage(err) {
				t.Errorf("not a damage error: %v", err)
			}
			return
		}
		if again, err := decodeSummary(s.append(nil)); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%+v came back as %+v, %v", s, again, err)
		}
	})
}

func sampleSummary() *Summary {
	return &Summary{Runs: []Run{
		{Lane: 0, Epoch: 0x0123456789ABCDEF, First: 1<<40 | 1, Last: 1<<40 | 1, Count: 1, Readings: 1, Bytes: 177, Oldest: -5, Newest: 1_772_323_200_000},
		{Lane: 1, Epoch: 0x0123456789ABCDEF, First: 1<<40 | 7, Last: 1<<40 | 501, Count: 4, Readings: 86_413, Bytes: 140, Oldest: 1, Newest: 2},
		{Lane: 1, Epoch: math.MaxUint64, First: 2 << 40, Last: 2<<40 | 1<<40 - 1, Count: 1 << 40, Oldest: math.MinInt64, Newest: math.MaxInt64},
	}}
}

// FuzzTails takes apart what may stand for the open blocks.
func FuzzTails(f *testing.F) {
	c := NewCodec()
	var blob []byte
	for lane := range uint8(Lanes) {
		first, b := encode(c, lane, samples()[:lane+1])
		k := blockKey(lane, first)
		blob = append(append(blob, k[:]...), b...)
	}
	f.Add(blob)
	f.Add(blob[:len(blob)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		tails, err := parseTails(b)
		n := 0
		for _, x := range tails {
			if x.h.count > 0 {
				n += blockKeyLen + len(x.enc)
			}
		}
		if err == nil && n != len(b) || err != nil && !boltfile.IsDamage(err) {
			t.Errorf("%d of %d bytes, %v", n, len(b), err)
		}
	})
}
