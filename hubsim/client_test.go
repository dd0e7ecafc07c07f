package hubsim_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
	"iotagent/iothub/sas"
)

// bed is a hub with the device pi-17, in memory.
type bed struct {
	*hubsim.Server
	t      *testing.T
	device sas.ConnectionString
}

func newBed(t *testing.T, o *hubsim.Options) *bed {
	t.Helper()
	s, err := hubsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	device, err := s.AddDevice("pi-17")
	if err != nil {
		t.Fatal(err)
	}
	return &bed{s, t, device}
}

func (b *bed) policyToken(name string, life time.Duration) string {
	b.t.Helper()
	c, err := b.ServiceConnection(name)
	if err != nil {
		b.t.Fatal(err)
	}
	return c.Key.Token("localhost", time.Now().Add(life), name)
}

func (b *bed) deviceToken(life time.Duration) string {
	return b.device.Key.Token(sas.Resource("localhost", "pi-17", ""), time.Now().Add(life), "")
}

// client is one go-amqp connection with one session.
type client struct {
	t    *testing.T
	conn *amqp.Conn
	*amqp.Session
}

// connect opens a connection in memory; a nil sasl means the bare header.
func (b *bed) connect(sasl amqp.SASLType) *client {
	b.t.Helper()
	nc, err := b.Dial(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return openClient(b.t, nc, sasl)
}

func openClient(t *testing.T, nc net.Conn, sasl amqp.SASLType) *client {
	t.Helper()
	conn, err := amqp.NewConn(t.Context(), nc, &amqp.ConnOptions{HostName: "localhost", SASLType: sasl})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // may have ended long ago
	session, err := conn.NewSession(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, conn, session}
}

// ctx bounds one step of a test.
func stepContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (c *client) sender(address string) *amqp.Sender {
	c.t.Helper()
	s, err := c.NewSender(stepContext(c.t), address, nil)
	if err != nil {
		c.t.Fatalf("sender to %s: %v", address, err)
	}
	return s
}

// ended waits until go-amqp knows that the hub ended a link. Before, it may use the link's handle again while its own detach is still on the way
// from one of its goroutines to another, which ends the session: handle in use.
func (c *client) ended(s *amqp.Sender) {
	c.t.Helper()
	err := s.Send(stepContext(c.t), amqp.NewMessage([]byte("x")), nil)
	if _, ok := errors.AsType[*amqp.LinkError](err); !ok {
		c.t.Errorf("a link that the hub ended: %v", err)
	}
}

func (c *client) receiver(address string, o *amqp.ReceiverOptions) *amqp.Receiver {
	c.t.Helper()
	r, err := c.NewReceiver(stepContext(c.t), address, o)
	if err != nil {
		c.t.Fatalf("receiver from %s: %v", address, err)
	}
	return r
}

func (c *client) receive(r *amqp.Receiver) *amqp.Message {
	c.t.Helper()
	m, err := r.Receive(stepContext(c.t), nil)
	if err != nil {
		c.t.Fatalf("receive from %s: %v", r.Address(), err)
	}
	return m
}

// cbs is a pair of links to $cbs.
type cbs struct {
	*client
	out *amqp.Sender
	in  *amqp.Receiver
}

func (c *client) cbs() *cbs {
	return &cbs{c, c.sender("$cbs"), c.receiver("$cbs", &amqp.ReceiverOptions{Credit: 10})}
}

func tokenRequest(id any, name, token string) *amqp.Message {
	to, reply := "$cbs", "cbs"
	return &amqp.Message{
		Properties: &amqp.MessageProperties{MessageID: id, To: &to, ReplyTo: &reply},
		ApplicationProperties: map[string]any{
			"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": name,
		},
		Value: token,
	}
}

// put sends one token and returns the hub's answer.
func (c *cbs) put(id any, name, token string) (int32, string, any) {
	c.t.Helper()
	if err := c.out.Send(stepContext(c.t), tokenRequest(id, name, token), nil); err != nil {
		c.t.Fatal(err)
	}
	return c.answer()
}

func (c *cbs) answer() (int32, string, any) {
	c.t.Helper()
	m := c.receive(c.in)
	status, ok := m.ApplicationProperties["status-code"].(int32)
	if !ok {
		c.t.Fatalf("status-code is a %T, clients insist on an int", m.ApplicationProperties["status-code"])
	}
	text, _ := m.ApplicationProperties["status-description"].(string)
	return status, text, m.Properties.CorrelationID
}

func (c *client) authorize(token string) *cbs {
	c.t.Helper()
	pair := c.cbs()
	if status, text, _ := pair.put("1", "localhost", token); status != 200 {
		c.t.Fatalf("put-token: %d %s", status, text)
	}
	return pair
}

// connectDevice is a device with its token in place.
func (b *bed) connectDevice() *client {
	b.t.Helper()
	c := b.connect(nil)
	c.authorize(b.deviceToken(time.Hour))
	return c
}

// connectService is a service with its token in place.
func (b *bed) connectService() *client {
	b.t.Helper()
	c := b.connect(amqp.SASLTypeAnonymous())
	c.authorize(b.policyToken("service", time.Hour))
	return c
}

// send sends and returns the hub's outcome.
func (c *client) send(s *amqp.Sender, m *amqp.Message) amqp.DeliveryState {
	c.t.Helper()
	receipt, err := s.SendWithReceipt(stepContext(c.t), m, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	state, err := receipt.Wait(stepContext(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	return state
}
