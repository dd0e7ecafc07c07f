package simi2c

// Standard requests and kinds of descriptors (USB 2.0, tables 9-4 and 9-5).
const (
	getStatus     = 0
	getDescriptor = 6
	getConfig     = 8

	kindDevice = 1
	kindConfig = 2
	kindString = 3
)

// standard answers what the kernel asks every device.
func standard(s setup) reply {
	switch s.request {
	case getDescriptor:
		if d := descriptor(byte(s.value>>8), byte(s.value)); d != nil {
			return reply{data: d}
		}
		return reply{stall: true}
	case getStatus:
		return reply{data: []byte{0, 0}}
	case getConfig:
		return reply{data: []byte{1}}
	default: // set address, configuration or interface
		return reply{}
	}
}

// descriptor returns one, nil where there is none. Vendor and product are those the kernel knows i2c-tiny-usb by.
func descriptor(kind, n byte) []byte {
	switch kind {
	case kindDevice: // USB 1.1, class of its own, 8 bytes a packet, 0403:c631, release 2.05, strings 1 to 3, one configuration
		return []byte{18, kindDevice, 0x10, 0x01, 0xff, 0, 0, 8, 0x03, 0x04, 0x31, 0xc6, 0x05, 0x02, 1, 2, 3, 1}
	case kindConfig: // powered by the bus, 100 mA; one interface that has no endpoint but the first
		return []byte{9, kindConfig, 18, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 0, 0xff, 0, 0, 0}
	case kindString:
		return text(n)
	}
	return nil
}

// text returns a string descriptor, the list of languages for 0.
func text(n byte) []byte {
	texts := []string{"\u0409", "iotagent", "i2c-tiny-usb", "simulated"}
	if int(n) >= len(texts) {
		return nil
	}
	d := []byte{0, kindString}
	for _, r := range texts[n] {
		d = append(d, byte(r), byte(r>>8))
	}
	d[0] = byte(len(d))
	return d
}
