package iothub_test

import (
	"testing"

	"iotagent/hubsim"
	"iotagent/iothub"
)

// Microsoft's clients begin without SASL, and so do we; a broker or a proxy may insist on it.
func TestPeerThatInsistsOnSASL(t *testing.T) {
	run(t, &hubsim.Options{RequireSASL: true}, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		r, err := c.Send(t.Context(), message(1))
		if err != nil {
			t.Fatal(err)
		}
		if o := r.Wait(t.Context()); o.State != iothub.Accepted {
			t.Errorf("outcome %+v", o)
		}
	})
}
