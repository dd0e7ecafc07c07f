package service

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/internal/backoff"
	"iotagent/iothub/sas"
)

// Auth is how the client proves who it is.
type Auth string

// The ways to sign in. On the Event Hubs-compatible endpoint, AuthPlain shows the policy's name and key themselves.
const (
	// AuthCBS puts a token to the node $cbs, and a new one before the old one ends, on the same connection.
	AuthCBS Auth = "cbs"
	// AuthPlain shows a token as the password of SASL PLAIN. The connection ends with the token and is made anew.
	AuthPlain Auth = "plain"
)

const (
	// cbsLife is how long a token for $cbs lives, as with Microsoft's SDKs.
	cbsLife = time.Hour
	// plainLife is how long a connection made with a token may last: it is bound to it.
	plainLife = 24 * time.Hour
	// cbsTimeout is how long the hub may take to judge a token.
	cbsTimeout = 30 * time.Second
)

// conn is a connection that is signed in, and stays so until it is closed.
type conn struct {
	*amqp.Conn
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// close ends the renewal of the token and the connection. Who closes has what was wanted, so that its error says nothing new.
func (c *conn) close() {
	c.stop()
	_ = c.Conn.Close()
	c.wg.Wait()
}

// signature makes tokens for one audience.
type signature struct {
	key      sas.Key
	audience string
	policy   string
	now      func() time.Time
}

func (s *signature) token(life time.Duration) string {
	return s.key.Token(s.audience, s.now().Add(life), s.policy)
}

// hubSignature signs for the hub itself.
func (c *Client) hubSignature() *signature {
	cs := c.o.Connection
	return &signature{cs.Key, c.host, cs.SharedAccessKeyName, c.o.Now}
}

// eventsSignature signs for an Event Hubs-compatible endpoint, where the text of the key is what signs, not what it decodes to.
func (c *Client) eventsSignature(host, entity string) *signature {
	cs := c.o.Connection
	return &signature{sas.NewKey([]byte(cs.Key.Text())), "sb://" + host + "/" + entity, cs.SharedAccessKeyName, c.o.Now}
}

// signIn puts the first token and keeps the connection's token fresh from then on. A hub allows one pair of links to $cbs a connection.
func (c *conn) signIn(ctx context.Context, s *signature) error {
	opening, cancel := context.WithTimeout(ctx, cbsTimeout)
	defer cancel()
	cbs, err := newCaller(opening, c.Conn, "$cbs")
	if err != nil {
		return err
	}
	if err := putToken(ctx, cbs, s); err != nil {
		return err
	}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.wg.Go(func() { c.renew(ctx, cbs, s) })
	return nil
}

// putToken asks for the hub's verdict on a new token ("AMQP Claims-based Security Version 1.0").
func putToken(ctx context.Context, cbs *caller, s *signature) error {
	ctx, cancel := context.WithTimeout(ctx, cbsTimeout)
	defer cancel()
	_, status, text, err := cbs.ask(ctx, &amqp.Message{
		ApplicationProperties: map[string]any{"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": s.audience},
		Value:                 s.token(cbsLife),
	})
	switch {
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("$cbs: the hub did not answer a token request: %w", err)
	case err != nil:
		return err
	case status == 200 || status == 202:
		return nil
	case status == 403 || status == 429:
		return fmt.Errorf("$cbs: %w: status %d: %s", ErrThrottled, status, text)
	case status >= 400 && status < 500:
		return fmt.Errorf("$cbs: %w: status %d: %s", ErrUnauthorized, status, text)
	}
	return fmt.Errorf("$cbs: status %d: %s", status, text)
}

// renew puts a new token at four fifths of the old one's life, a little earlier so that many clients that started together do not renew together.
// When no token is taken until shortly before the old one ends, so does the connection: whoever uses it makes another and hears why.
func (c *conn) renew(ctx context.Context, cbs *caller, s *signature) {
	for {
		ends := time.Now().Add(cbsLife - time.Minute)
		early := rand.N(cbsLife / 20) //nolint:gosec // only to spread the load
		if backoff.Sleep(ctx, cbsLife*8/10-early) != nil {
			return
		}
		tries := backoff.Backoff{Floor: 5 * time.Second, Cap: time.Minute}
		for putToken(ctx, cbs, s) != nil {
			if backoff.Sleep(ctx, tries.Next()) != nil {
				return
			}
			if time.Now().After(ends) {
				_ = c.Conn.Close() // its user sees that it has ended
				return
			}
		}
	}
}
