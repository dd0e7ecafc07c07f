package gpioline

// The structures of include/uapi/linux/gpio.h. Every field stands at a multiple of its own size, so the layout is the same on
// 32-bit and 64-bit machines; a test holds the sizes.

type chipInfo struct {
	name, label [32]byte
	lines       uint32
}

type attribute struct {
	id, _ uint32
	value uint64 // flags or levels, by id
}

type configAttribute struct {
	attr attribute
	mask uint64
}

type lineConfig struct {
	flags    uint64
	numAttrs uint32
	_        [5]uint32
	attrs    [10]configAttribute
}

type lineRequest struct {
	offsets  [64]uint32
	consumer [32]byte
	config   lineConfig
	numLines uint32
	_        [6]uint32 // event_buffer_size, and padding
	fd       int32
}

type lineInfo struct {
	name, consumer [32]byte
	offset, _      uint32 // and num_attrs
	flags          uint64
	attrs          [10]attribute
	_              [4]uint32
}

type lineValues struct{ bits, mask uint64 }
