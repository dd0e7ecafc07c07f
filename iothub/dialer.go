package iothub

import "context"

// Dialer makes one connection of a device after the other, and remembers between them what outlives a connection: redirects that hold, and which key the
// hub takes. Use NewDialer. Its methods may be called from any goroutine, Dial by one at a time.
type Dialer struct {
	o Options
}

// NewDialer returns a Dialer for these options, which it copies.
func NewDialer(o *Options) *Dialer { return &Dialer{o: *o} }

// Dial connects, following redirects, at most three in a row. See the function Dial for the rest of the contract.
func (d *Dialer) Dial(ctx context.Context) (*Client, error) { return Dial(ctx, &d.o) }
