package sensors

import (
	"context"
	"fmt"
	"slices"

	"iotagent/internal/gpioline"
)

// Placed is a Config of a sensor that has a place of its own, on a bus or a GPIO line. Two such sensors in one place are a mistake.
type Placed interface {
	Config
	// Place says where the chip is. It does no I/O.
	Place() Place
}

// Place is where a sensor is: I2C and Address, or SPI, or Line.
type Place struct {
	// I2C is the bus as ParseI2C takes it, Address the chip's.
	I2C     string
	Address int
	// SPI is the chip select as ParseSPI takes it.
	SPI string
	// Line is the name of a GPIO line.
	Line string
	// Shared says that several sensors of one type may use the chip, each a part of it. A driver whose reading takes several transactions needs Hold for it.
	Shared bool
}

// Clash returns why a sensor at this place and one at the other cannot both be right, for a person; "" when they can. The types are those of the
// configuration. A place with a name that is none clashes with nothing.
func (p Place) Clash(typ string, other Place, otherType string) string {
	if p.Line != "" || other.Line != "" {
		if !gpioline.SameName(p.Line, other.Line) {
			return ""
		}
		return p.Line + " has one holder"
	}
	shared := p.Shared && other.Shared && typ == otherType
	if p.SPI != "" || other.SPI != "" {
		a, err := ParseSPI(p.SPI)
		b, berr := ParseSPI(other.SPI)
		if err != nil || berr != nil || a != b || shared {
			return ""
		}
		return fmt.Sprintf("%s is one chip's", a)
	}
	a, err := ParseI2C(p.I2C)
	b, berr := ParseI2C(other.I2C)
	if err != nil || berr != nil || a.root() != b.root() {
		return ""
	}
	return clashI2C(a, p.Address, b, other.Address, shared)
}

func clashI2C(a I2CPath, addr int, b I2CPath, other int, shared bool) string {
	switch {
	case addr != other || !together(a.Hops, b.Hops):
	case len(a.Hops) != len(b.Hops):
		return fmt.Sprintf("%s:0x%02x and %s:0x%02x would both answer: a multiplexer does not hide the chips before it", a, addr, b, other)
	case !shared:
		return fmt.Sprintf("%s:0x%02x is one chip's", a, addr)
	}
	for i, h := range b.Hops {
		if int(h.Address) == addr && together(a.Hops, b.Hops[:i]) {
			return fmt.Sprintf("%s:0x%02x would answer with the multiplexer 0x%02x of %s", a, addr, h.Address, b)
		}
	}
	for i, h := range a.Hops {
		if int(h.Address) == other && together(b.Hops, a.Hops[:i]) {
			return fmt.Sprintf("%s:0x%02x would answer with the multiplexer 0x%02x of %s", b, other, h.Address, a)
		}
		for j, g := range b.Hops {
			if i != j && h.Address == g.Address && together(a.Hops[:i], b.Hops[:j]) {
				return fmt.Sprintf("the multiplexers 0x%02x of %s and of %s would both answer", h.Address, a, b)
			}
		}
	}
	return ""
}

// together reports whether what is at the ends of both ways is connected at the same time when one of them is: one is the beginning of the other.
func together(a, b []I2CHop) bool {
	n := min(len(a), len(b))
	return slices.Equal(a[:n], b[:n])
}

// announce tells the hardware of a sensor before any sensor is opened, so that the first transaction of a bus already knows of all the multiplexers on it. It
// does no I/O.
func announce(hw Hardware, cfg Config) {
	if p, ok := cfg.(Placed); ok && p.Place().I2C != "" {
		_, _ = hw.I2C(p.Place().I2C) // opening the sensor says what is wrong with it
	}
}

// holder is Hardware that keeps the sensors that share a chip apart.
type holder interface {
	hold(place string) chan struct{}
}

// hold returns the chip's token, which one sensor has at a time.
func (b *Board) hold(place string) chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	token := b.held[place]
	if token == nil {
		token = make(chan struct{}, 1)
		token <- struct{}{}
		b.held[place] = token
	}
	return token
}

// hold takes the token of a place. Other hardware than a Board, such as that of a test, has no other sensors.
func hold(ctx context.Context, hw Hardware, place string) (release func(), err error) {
	h, ok := hw.(holder)
	if !ok {
		return func() {}, nil
	}
	token := h.hold(place)
	select {
	case <-token:
		return func() { token <- struct{}{} }, nil
	case <-ctx.Done():
		return func() {}, Expired(ctx)
	}
}
