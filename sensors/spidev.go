package sensors

import (
	"context"
	"fmt"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// SPIDev is one chip on an SPI bus: what an SPI driver talks through. It is used by one goroutine at a time.
type SPIDev struct {
	conn spi.Conn
}

// OpenSPI returns the chip at the named port, 8 bits a word, at most hz.
func OpenSPI(hw Hardware, port string, hz physic.Frequency, mode spi.Mode) (*SPIDev, error) {
	p, err := hw.SPI(port)
	if err != nil {
		return nil, err
	}
	c, err := p.Connect(hz, mode, 8)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return &SPIDev{conn: c}, nil
}

// String says where the chip is: "spi0.1".
func (d *SPIDev) String() string { return d.conn.String() }

// Tx sends w and receives as many bytes into r, which has the same length or is nil, with the chip selected from the first bit to the last. It waits no
// longer than ctx allows; the error wraps ErrTimeout then. r is only written when the error is nil.
func (d *SPIDev) Tx(ctx context.Context, w, r []byte) error {
	if err := Expired(ctx); err != nil {
		return fmt.Errorf("%s: %w", d.conn, err)
	}
	if c, ok := d.conn.(interface {
		TxContext(ctx context.Context, w, r []byte) error
	}); ok {
		return Meaning(c.TxContext(ctx, w, r))
	}
	return Meaning(d.conn.Tx(w, r))
}

// Write is Tx for Halt, which has no context and reads nothing: it waits no longer than the port itself allows.
func (d *SPIDev) Write(w []byte) error {
	return Meaning(d.conn.Tx(w, nil))
}
