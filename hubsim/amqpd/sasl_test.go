package amqpd

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSASLMechanisms plays what go-amqp has no words for: MSSBCBS with its
// empty response, a mechanism that is not offered, and other frames than are due.
func TestSASLMechanisms(t *testing.T) {
	t.Parallel()
	welcome := []any{uint8(SASLOK), []byte("Welcome!")}
	for name, c := range map[string]struct {
		typ    byte
		init   *saslFrame
		want   []any // fields of the outcome; nil: the connection ends without one
		opened bool
	}{
		"MSSBCBS":        {frameTypeSASL, &saslFrame{codeSASLInit, []any{Symbol("MSSBCBS"), []byte{}, "hub"}}, welcome, true},
		"short init":     {frameTypeSASL, &saslFrame{codeSASLInit, []any{Symbol("EXTERNAL")}}, welcome, true},
		"not offered":    {frameTypeSASL, &saslFrame{codeSASLInit, []any{Symbol("XOAUTH2")}}, []any{uint8(SASLAuth)}, false},
		"AMQP frame":     {frameTypeAMQP, &saslFrame{codeSASLInit, []any{Symbol("ANONYMOUS")}}, nil, false},
		"response first": {frameTypeSASL, &saslFrame{codeSASLResponse, []any{[]byte("x")}}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			var asked SASLRequest
			peer, _ := start(t, Config{
				Welcome: []byte("Welcome!"),
				Authenticate: func(_ context.Context, req *SASLRequest) (any, SASLCode) {
					asked = *req
					return nil, SASLOK
				},
			}, &node{})
			p := speak(t, peer, headerSASL())
			p.expect(codeSASLMechanisms)
			p.write(appendFrame(nil, c.typ, 0, c.init, nil))
			if c.want != nil {
				out := p.expect(codeSASLOutcome)
				if diff := cmp.Diff(out.fields, c.want); diff != "" {
					t.Errorf("outcome: got - want +\n%s", diff)
				}
			}
			if !c.opened {
				p.expectClosed()
				return
			}
			mech, _ := c.init.list[0].(Symbol)
			if asked.Mechanism != string(mech) || len(asked.Response) != 0 || asked.Conn == nil {
				t.Errorf("asked %q with %q", asked.Mechanism, asked.Response)
			}
			_ = peer.Close()
		})
	}
}
