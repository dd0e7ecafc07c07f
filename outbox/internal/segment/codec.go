package segment

import (
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Codec compresses and decompresses blocks. One is enough for all segments of a process; one goroutine may append and several read
// at a time. It has no goroutines, and about 1 MB of tables once used.
type Codec struct {
	enc     *zstd.Encoder
	dec     *zstd.Decoder
	scratch sync.Pool // *[]byte, for blocks put together from their pieces
}

// NewCodec makes a codec.
func NewCodec() *Codec {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic("segment: zstd options: " + err.Error())
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxBytes),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("segment: zstd options: " + err.Error())
	}
	return &Codec{enc: enc, dec: dec, scratch: sync.Pool{New: func() any { return new([]byte) }}}
}
