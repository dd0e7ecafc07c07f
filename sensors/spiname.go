package sensors

import (
	"fmt"
	"strconv"
	"strings"
)

// SPIName is a chip select of an SPI bus.
type SPIName struct {
	Bus, Select int
}

// String is the name as messages show it: "spi0.1".
func (n SPIName) String() string { return fmt.Sprintf("spi%d.%d", n.Bus, n.Select) }

// ParseSPI returns what a configuration calls "0.1", "SPI0.1", "spidev0.1" or "/dev/spidev0.1".
func ParseSPI(name string) (SPIName, error) {
	digits := strings.TrimPrefix(name, "/dev/")
	for _, prefix := range []string{"spidev", "spi"} {
		if len(digits) > len(prefix) && strings.EqualFold(digits[:len(prefix)], prefix) {
			digits = digits[len(prefix):]
			break
		}
	}
	bus, chip, _ := strings.Cut(digits, ".")
	n, err := strconv.ParseUint(bus, 10, 16)
	c, cerr := strconv.ParseUint(chip, 10, 8)
	if err != nil || cerr != nil {
		return SPIName{}, fmt.Errorf("spi port %q: want a bus and a chip select such as \"0.1\", or \"/dev/spidev0.1\"", name)
	}
	return SPIName{Bus: int(n), Select: int(c)}, nil
}
