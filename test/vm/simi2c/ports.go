package simi2c

// PCF8574 is a port of eight lines without registers (TI SCPS068J). Outside may be changed within Adapter.Do.
type PCF8574 struct {
	// Outside are the lines that nothing outside pulls low.
	Outside byte

	latch byte
}

// NewPCF8574 returns a chip just switched on, with nothing connected: every line is high.
func NewPCF8574() *PCF8574 { return &PCF8574{Outside: 0xff, latch: 0xff} }

// Write sets the latch; a 1 only pulls up weakly.
func (c *PCF8574) Write(b []byte) bool {
	for _, v := range b {
		c.latch = v
	}
	return true
}

// Read gives the levels.
func (c *PCF8574) Read(b []byte) bool {
	for i := range b {
		b[i] = c.latch & c.Outside
	}
	return true
}

// Latch returns what was written last. Call it within Adapter.Do.
func (c *PCF8574) Latch() byte { return c.latch }

// PCA9534 is a port of eight lines with registers (NXP PCA9534, revision 4). Outside may be changed within Adapter.Do.
type PCA9534 struct {
	// Outside are the levels of the lines that are inputs.
	Outside byte

	reg [4]byte // input, output, polarity, configuration: 1 is an input
	at  byte
}

// NewPCA9534 returns a chip just switched on: every line is an input.
func NewPCA9534() *PCA9534 { return &PCA9534{Outside: 0xff, reg: [4]byte{0, 0xff, 0, 0xff}} }

// Write takes a register and values for it.
func (c *PCA9534) Write(b []byte) bool {
	if len(b) > 0 {
		c.at = b[0] & 3
		for _, v := range b[1:] {
			c.reg[c.at] = v
		}
	}
	return true
}

// Read gives one register again and again.
func (c *PCA9534) Read(b []byte) bool {
	for i := range b {
		b[i] = c.reg[c.at]
		if c.at == 0 {
			b[i] = (c.Outside&c.reg[3] | c.reg[1]&^c.reg[3]) ^ c.reg[2]
		}
	}
	return true
}

// EEPROM is 256 bytes of memory such as a 24C02: the first byte of a write is an address, and reads go on from there. Its content is
// Byte(address), and does not change.
type EEPROM struct{ at byte }

// Byte is what an EEPROM holds at an address. It is never the address itself, and no two addresses have the same.
func Byte(addr byte) byte { return addr*37 + 11 }

// Write sets the address.
func (c *EEPROM) Write(b []byte) bool {
	if len(b) > 0 {
		c.at = b[0]
	}
	return true
}

// Read gives one byte after the other.
func (c *EEPROM) Read(b []byte) bool {
	for i := range b {
		b[i] = Byte(c.at)
		c.at++
	}
	return true
}
