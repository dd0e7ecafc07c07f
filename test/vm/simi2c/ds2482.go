package simi2c

// DS2482 is a DS2482-100, a bridge to a 1-Wire line (Maxim 19-4930, revision 9).
type DS2482 struct {
	line   line
	status byte
	config byte
	data   byte
	at     byte // what a read gives
}

// Codes of the registers to read, the commands, and bits of the status.
const (
	regStatus = 0xf0
	regData   = 0xe1
	regConfig = 0xc3

	cmdReset       = 0xf0
	cmdSetPointer  = 0xe1
	cmdWriteConfig = 0xd2
	cmdWireReset   = 0xb4
	cmdWireBit     = 0x87
	cmdWriteByte   = 0xa5
	cmdReadByte    = 0x96
	cmdTriplet     = 0x78

	bitPresence  = 1 << 1
	bitLevel     = 1 << 3
	bitReset     = 1 << 4
	bitSingle    = 1 << 5
	bitTriplet   = 1 << 6
	bitDirection = 1 << 7
)

// NewDS2482 returns a bridge with thermometers on its line.
func NewDS2482(on ...*DS18B20) *DS2482 {
	c := &DS2482{at: regStatus, status: bitLevel | bitReset}
	for _, s := range on {
		c.line = append(c.line, s)
	}
	return c
}

// Read gives the register that the last command points at, again and again.
func (c *DS2482) Read(b []byte) bool {
	v := c.status
	switch c.at {
	case regData:
		v = c.data
	case regConfig:
		v = c.config
	}
	for i := range b {
		b[i] = v
	}
	return true
}

// Write carries out a command. All are done before the next transfer can come, so the line never shows as busy.
func (c *DS2482) Write(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if len(b) == 1 {
		return c.command(b[0])
	}
	return c.commandWith(b[0], b[1])
}

func (c *DS2482) command(command byte) bool {
	c.at = regStatus
	switch command {
	case cmdReset:
		c.config, c.status = 0, bitLevel|bitReset
	case cmdWireReset:
		c.status = bitLevel
		if c.line.reset() {
			c.status |= bitPresence
		}
	case cmdReadByte:
		c.data = 0
		for i := range 8 {
			if c.line.slot(true) {
				c.data |= 1 << i
			}
		}
	default:
		return false
	}
	return true
}

func (c *DS2482) commandWith(command, arg byte) bool {
	c.at = regStatus
	switch command {
	case cmdSetPointer:
		c.at = arg
	case cmdWriteConfig: // the upper half is the complement of the lower one
		if arg>>4 != ^arg&0x0f {
			return false
		}
		c.config, c.at = arg&0x0f, regConfig
		c.status &^= bitReset
	case cmdWriteByte:
		for i := range 8 {
			c.line.slot(arg>>i&1 != 0)
		}
	case cmdWireBit:
		c.status &^= bitSingle | bitTriplet | bitDirection
		if c.line.slot(arg&0x80 != 0) {
			c.status |= bitSingle
		}
	case cmdTriplet:
		c.triplet(arg&0x80 != 0)
	default:
		return false
	}
	return true
}

// triplet is one step of a search: two bits read, and the direction written that they leave, or else the one wished for.
func (c *DS2482) triplet(wish bool) {
	c.status &^= bitSingle | bitTriplet | bitDirection
	first, second := c.line.slot(true), c.line.slot(true)
	direction := wish
	if first != second {
		direction = first
	} else if first {
		direction = true // nobody answered
	}
	if first {
		c.status |= bitSingle
	}
	if second {
		c.status |= bitTriplet
	}
	if direction {
		c.status |= bitDirection
	}
	c.line.slot(direction)
}
