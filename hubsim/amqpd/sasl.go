package amqpd

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

var errSASL = errors.New("authentication was refused")

// saslFrame is any performative of the SASL layer (part 5, 5.3.3).
type saslFrame struct {
	descriptor uint64
	list       []any
}

func (f *saslFrame) code() uint64  { return f.descriptor }
func (f *saslFrame) fields() []any { return f.list }

func (c *Conn) sendSASL(code uint64, fields ...any) {
	c.w.frame(frameTypeSASL, 0, &saslFrame{code, fields}, nil)
}

// sasl authenticates the peer.
func (c *Conn) sasl(ctx context.Context) error {
	c.sendSASL(codeSASLMechanisms, symbols(c.cfg.Mechanisms))
	r, err := c.readSASL(codeSASLInit)
	if err != nil {
		return err
	}
	req := &SASLRequest{Conn: c, Mechanism: r.text(), Response: r.binary(), Hostname: r.text()}
	if r.err != nil {
		return fmt.Errorf("sasl-init: %w", r.err)
	}
	if !slices.Contains(c.cfg.Mechanisms, req.Mechanism) {
		c.sendSASL(codeSASLOutcome, uint8(SASLAuth))
		return fmt.Errorf("%w: mechanism %q is not offered", errSASL, req.Mechanism)
	}
	if req.Response == nil && req.Mechanism == "PLAIN" { // the client waits to be asked
		c.sendSASL(codeSASLChallenge, []byte{})
		if r, err = c.readSASL(codeSASLResponse); err != nil {
			return err
		}
		req.Response = r.binary()
	}
	identity, code := any(nil), SASLOK
	if c.cfg.Authenticate != nil {
		limited, cancel := context.WithTimeout(ctx, c.cfg.HandshakeTimeout)
		identity, code = c.cfg.Authenticate(limited, req)
		cancel()
	}
	if code != SASLOK {
		c.sendSASL(codeSASLOutcome, uint8(code))
		return fmt.Errorf("%w: mechanism %s, code %d", errSASL, req.Mechanism, code)
	}
	c.mu.Lock()
	c.identity, c.mechanism = identity, req.Mechanism
	c.mu.Unlock()
	var welcome any
	if len(c.cfg.Welcome) > 0 {
		welcome = c.cfg.Welcome
	}
	c.sendSASL(codeSASLOutcome, trimmed([]any{uint8(SASLOK), welcome})...)
	return nil
}

// readSASL reads the next SASL frame, which must be of the kind that is due.
func (c *Conn) readSASL(code uint64) (*fieldReader, error) {
	for {
		f, err := c.fr.read()
		if err != nil {
			return nil, fmt.Errorf("sasl: %w", noEOF(err))
		}
		if f.typ != frameTypeSASL {
			return nil, fmt.Errorf("sasl: frame of type %d", f.typ)
		}
		if f.code == code {
			return f.perf, nil
		}
		if f.code != 0 {
			return nil, fmt.Errorf("sasl: performative 0x%x where 0x%x is due", f.code, code)
		}
	}
}

// symbols makes an array of symbols of strings.
func symbols(list []string) Array {
	out := make(Array, len(list))
	for i, s := range list {
		out[i] = Symbol(s)
	}
	return out
}
