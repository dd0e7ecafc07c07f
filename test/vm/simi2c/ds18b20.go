package simi2c

// DS18B20 is a thermometer on a 1-Wire line (Maxim 19-7487, revision 6). Raw, PowerOn and BadCRC may be changed within Adapter.Do.
type DS18B20 struct {
	// Raw is the temperature of the next conversion in sixteenths of a degree.
	Raw int16
	// PowerOn keeps conversions from having an effect: the chip was reset while it converted.
	PowerOn bool
	// BadCRC disturbs what is read.
	BadCRC bool

	rom   [8]byte
	pad   [9]byte // the scratchpad, with room for its checksum
	state state
	n     int // slots since the state began
	in    [8]byte
	out   []byte
}

// state is what a chip takes the next slots for.
type state int

const (
	stateIdle state = iota // not meant, until the next reset
	stateROM               // a ROM command
	stateSearch
	stateMatch
	stateFunction // a function command
	stateSend     // out, then ones
	stateSettings // three bytes for the scratchpad
)

// Commands (tables 3 and 4, section ROM Commands).
const (
	romSearch = 0xf0
	romRead   = 0x33
	romMatch  = 0x55
	romSkip   = 0xcc

	funcConvert = 0x44
	funcWrite   = 0x4e
	funcRead    = 0xbe
	funcPower   = 0xb4
)

// NewDS18B20 returns a chip of that serial number, at 25.0625 °C as in the datasheet's table 1.
func NewDS18B20(serial [6]byte) *DS18B20 {
	c := &DS18B20{Raw: 0x191, pad: [9]byte{0x50, 0x05, 0x4b, 0x46, 0x7f, 0xff, 0x0c, 0x10}}
	c.rom[0] = 0x28
	copy(c.rom[1:], serial[:])
	c.rom[7] = crc8(c.rom[:7])
	return c
}

func (c *DS18B20) reset() { c.enter(stateROM) }

func (c *DS18B20) enter(s state) { c.state, c.n, c.in = s, 0, [8]byte{} }

func (c *DS18B20) slot(bit bool) bool {
	n := c.n
	c.n++
	switch c.state {
	case stateSearch:
		return c.search(n, bit)
	case stateSend:
		return n >= 8*len(c.out) || bitOf(c.out, n)
	case stateIdle:
		return true
	}
	if bit {
		c.in[n/8] |= 1 << (n % 8)
	}
	c.received(n + 1)
	return true
}

// search sends a bit of the number and its complement, then hears which chips are to go on.
func (c *DS18B20) search(n int, bit bool) bool {
	own := bitOf(c.rom[:], n/3)
	switch n % 3 {
	case 0:
		return own
	case 1:
		return !own
	}
	if bit != own {
		c.enter(stateIdle)
	} else if n == 3*64-1 {
		c.enter(stateFunction)
	}
	return true
}

// received is called after each bit that the master wrote.
func (c *DS18B20) received(bits int) {
	switch {
	case c.state == stateROM && bits == 8:
		c.romCommand(c.in[0])
	case c.state == stateMatch && bits == 64:
		if c.in == c.rom {
			c.enter(stateFunction)
		} else {
			c.enter(stateIdle)
		}
	case c.state == stateFunction && bits == 8:
		c.function(c.in[0])
	case c.state == stateSettings && bits == 24:
		copy(c.pad[2:5], c.in[:])
		c.enter(stateIdle)
	}
}

func (c *DS18B20) romCommand(command byte) {
	switch command {
	case romSearch:
		c.enter(stateSearch)
	case romMatch:
		c.enter(stateMatch)
	case romSkip:
		c.enter(stateFunction)
	case romRead:
		c.send(c.rom[:])
	default: // an alarm search among them: there is none
		c.enter(stateIdle)
	}
}

func (c *DS18B20) function(command byte) {
	switch command {
	case funcConvert:
		c.convert()
		c.send(nil) // done
	case funcRead:
		c.pad[8] = crc8(c.pad[:8])
		pad := c.pad
		if c.BadCRC {
			pad[0] ^= 0x10 // a degree off
		}
		c.send(pad[:])
	case funcWrite:
		c.enter(stateSettings)
	case funcPower:
		c.send(nil) // not parasite
	default: // copy and recall: the EEPROM holds what the scratchpad does
		c.enter(stateIdle)
	}
}

func (c *DS18B20) send(b []byte) {
	c.enter(stateSend)
	c.out = b
}

// convert puts the temperature into the scratchpad. Byte 6, which the datasheet reserves, is what chips are seen to have there.
func (c *DS18B20) convert() {
	if c.PowerOn {
		c.pad[0], c.pad[1], c.pad[6] = 0x50, 0x05, 0x0c
		return
	}
	c.pad[0], c.pad[1] = byte(c.Raw), byte(c.Raw>>8)
	c.pad[6] = 0x10 - byte(c.Raw)&0x0f
}
