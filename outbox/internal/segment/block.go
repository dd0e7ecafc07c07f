package segment

import (
	"encoding/binary"
	"hash/crc32"

	"iotagent/outbox/internal/boltfile"
)

// header stands before a block's payload. With the key (lane and first place) it says all about a block but what its records hold.
//
//	0  CRC-32C over key and all that follows, u32
//	4  version, u8
//	5  codec, u8
//	6  records, u32
//	10 length of the raw form, u32
//	14 length of the payload, u32
//	18 readings, u64
//	26 last place, u64
//	34 put time of the first record, ms, u64
//
// Numbers are big-endian.
type header struct {
	lane     uint8
	first    uint64
	codec    uint8
	count    uint32
	raw      uint32
	payload  uint32
	readings uint64
	last     uint64
	put      int64
}

const (
	formatVersion = 1
	headerLen     = 42
	blockKeyLen   = 9

	codecRaw  = 0
	codecZstd = 1

	// blockRaw is how long the raw form of a block of several records may be.
	blockRaw = 128 << 10
)

func blockKey(lane uint8, first uint64) (k [blockKeyLen]byte) {
	k[0] = lane
	binary.BigEndian.PutUint64(k[1:], first)
	return k
}

func checksum(lane uint8, first uint64, b []byte) uint32 {
	table, sum := crc32.MakeTable(crc32.Castagnoli), ^uint32(0)
	for _, c := range blockKey(lane, first) { // by hand, as crc32 would have the key on the heap
		sum = table[byte(sum)^c] ^ sum>>8
	}
	return crc32.Update(^sum, table, b)
}

// appendBlock encodes a block behind b. The raw form stays as it is when it does not shrink by a sixteenth.
func (c *Codec) appendBlock(b []byte, h *header, raw []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, headerLen)...)
	h.codec, h.raw = codecZstd, uint32(len(raw))
	b = c.enc.EncodeAll(raw, b)
	if len(b)-start-headerLen > len(raw)-len(raw)/16 {
		h.codec = codecRaw
		b = append(b[:start+headerLen], raw...)
	}
	h.payload = uint32(len(b) - start - headerLen)
	x := b[start:]
	x[4], x[5] = formatVersion, h.codec
	binary.BigEndian.PutUint32(x[6:], h.count)
	binary.BigEndian.PutUint32(x[10:], h.raw)
	binary.BigEndian.PutUint32(x[14:], h.payload)
	binary.BigEndian.PutUint64(x[18:], h.readings)
	binary.BigEndian.PutUint64(x[26:], h.last)
	binary.BigEndian.PutUint64(x[34:], uint64(h.put))
	binary.BigEndian.PutUint32(x, checksum(h.lane, h.first, x[4:]))
	return b
}

// parseHeader reads the header at the start of b and checks its bounds, not the checksum.
func parseHeader(lane uint8, first uint64, b []byte) (h header, err error) {
	if len(b) < headerLen {
		return h, boltfile.Damaged("block of %d bytes", len(b))
	}
	if b[4] != formatVersion {
		return h, boltfile.Damaged("block of version %d", b[4])
	}
	h = header{
		lane: lane, first: first, codec: b[5], count: binary.BigEndian.Uint32(b[6:]), raw: binary.BigEndian.Uint32(b[10:]),
		payload: binary.BigEndian.Uint32(b[14:]), readings: binary.BigEndian.Uint64(b[18:]), last: binary.BigEndian.Uint64(b[26:]),
		put: int64(binary.BigEndian.Uint64(b[34:])),
	}
	most := uint32(blockRaw)
	if h.count == 1 {
		most = maxBytes
	}
	switch {
	case lane >= Lanes, h.codec > codecZstd, h.count == 0, h.last < first, h.raw > most, h.payload > h.raw,
		uint64(h.count)*minRecord > uint64(h.raw), h.codec == codecRaw && h.payload != h.raw:
		return h, boltfile.Damaged("block with a header that cannot be")
	}
	return h, nil
}

// whole checks that b is a whole block and returns its header.
func whole(lane uint8, first uint64, b []byte) (header, error) {
	h, err := parseHeader(lane, first, b)
	if err != nil {
		return h, err
	}
	if uint64(len(b)) != headerLen+uint64(h.payload) {
		return h, boltfile.Damaged("block of %d bytes, should be %d", len(b), headerLen+uint64(h.payload))
	}
	if binary.BigEndian.Uint32(b) != checksum(lane, first, b[4:]) {
		return h, boltfile.Damaged("block with a wrong checksum")
	}
	return h, nil
}

// decodeRaw returns the raw form of a whole block in a buffer of its own.
func (c *Codec) decodeRaw(h *header, b []byte) ([]byte, error) {
	raw, payload := make([]byte, 0, h.raw), b[headerLen:]
	if h.codec == codecRaw {
		return append(raw, payload...), nil
	}
	raw, err := c.dec.DecodeAll(payload, raw)
	if err != nil || len(raw) != int(h.raw) {
		return nil, boltfile.Damaged("block does not decompress: %d of %d bytes, %v", len(raw), h.raw, err)
	}
	return raw, nil
}

// decode returns the records of a block. Their bodies share a buffer of their own.
func (c *Codec) decode(lane uint8, first uint64, b []byte) ([]Record, error) {
	h, err := whole(lane, first, b)
	if err != nil {
		return nil, err
	}
	raw, err := c.decodeRaw(&h, b)
	if err != nil {
		return nil, err
	}
	return decodeRecords(&h, raw)
}

// builder is a block being filled: the columns of its raw form, and what the header will say.
type builder struct {
	h       header
	cols    [columns][]byte
	size    int
	lastPut int64
	joined  []byte
}

func (b *builder) reset(lane uint8) {
	b.h, b.size = header{lane: lane}, 0
	for i := range b.cols {
		b.cols[i] = b.cols[i][:0]
	}
	if cap(b.cols[colBody]) > 2*blockRaw { // after one huge record
		b.cols[colBody], b.joined = nil, nil
	}
}

func (b *builder) fits(r *Record) bool {
	return b.h.count == 0 || b.size+maxRecordHead+len(r.Body) <= blockRaw
}

func (b *builder) add(r *Record) {
	if b.h.count == 0 {
		b.h.first, b.h.last, b.h.put, b.lastPut = r.Pos, r.Pos, r.Put, r.Put
	}
	flags := uint64(r.Flags) << 1
	if r.Span > 0 {
		flags |= 1
		b.number(colSpan, r.Span)
	}
	b.number(colPlace, r.Pos-b.h.last)
	b.number(colFlags, flags)
	d := r.Put - b.lastPut
	b.number(colPut, uint64(d)<<1^uint64(d>>63))
	b.number(colReadings, uint64(r.Readings))
	b.number(colLength, uint64(len(r.Body)))
	b.cols[colBody] = append(b.cols[colBody], r.Body...)
	b.size += len(r.Body)
	b.h.count++
	b.h.readings += uint64(r.Readings)
	b.h.last, b.lastPut = r.Pos, r.Put
}

func (b *builder) number(col int, n uint64) {
	was := len(b.cols[col])
	b.cols[col] = binary.AppendUvarint(b.cols[col], n)
	b.size += len(b.cols[col]) - was
}

// raw joins the columns. It is valid until the next call.
func (b *builder) raw() []byte {
	b.joined = b.joined[:0]
	for _, c := range b.cols {
		b.joined = append(b.joined, c...)
	}
	return b.joined
}

// load takes up a block that was written, to go on with it.
func (b *builder) load(c *Codec, h *header, enc []byte) error {
	raw, err := c.decodeRaw(h, enc)
	if err != nil {
		return err
	}
	recs, err := decodeRecords(h, raw)
	if err != nil {
		return err
	}
	b.reset(h.lane)
	for i := range recs {
		b.add(&recs[i])
	}
	return nil
}
