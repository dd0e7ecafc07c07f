package service_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
	"iotagent/iothub/sas"
	"iotagent/iothub/service"
	"iotagent/iothub/transport"
)

// wall is a wall clock for virtual time, which begins in the year 2000: before any clock is plausible.
func wall() time.Time { return time.Now().AddDate(28, 0, 0) }

// bed is a hub in memory and in virtual time.
type bed struct {
	*hubsim.Server
	t *testing.T
}

// run runs a test in virtual time, against a hub of its own.
func run(t *testing.T, o *hubsim.Options, f func(t *testing.T, b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if o == nil {
			o = &hubsim.Options{}
		}
		o.Now = wall
		s, err := hubsim.New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(t, &bed{s, t})
	})
}

// hour is a context that ends what ought to have ended by itself.
func hour(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}

func (b *bed) policy(name string) sas.ConnectionString {
	b.t.Helper()
	cs, err := b.ServiceConnection(name)
	if err != nil {
		b.t.Fatal(err)
	}
	return cs
}

// client is the service as which a connection string lets one in.
func (b *bed) client(cs sas.ConnectionString) *service.Client { return b.clientBy("", cs) }

// clientBy signs in in one of the ways.
func (b *bed) clientBy(auth service.Auth, cs sas.ConnectionString) *service.Client {
	b.t.Helper()
	c, err := service.New(&service.Options{
		Connection: cs, Auth: auth, Now: wall,
		Dial: func(ctx context.Context, _ string) (net.Conn, error) { return b.Dial(ctx) },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bed) service() *service.Client {
	b.t.Helper()
	return b.client(b.policy("service"))
}

// device registers a device, unless it is, and connects it.
func (b *bed) device(id string) *iothub.Client {
	b.t.Helper()
	return b.deviceOf(id, "localhost")
}

func (b *bed) deviceOf(id, host string) *iothub.Client {
	b.t.Helper()
	cs, known := b.Devices()[id]
	if !known {
		var err error
		if cs, err = b.AddDevice(id); err != nil {
			b.t.Fatal(err)
		}
	}
	c, err := iothub.Dial(b.t.Context(), &iothub.Options{
		Host: host, DeviceID: id, Key: cs.Key, Now: wall, Credit: 50,
		Dial: func(ctx context.Context, _ transport.Endpoint) (net.Conn, error) { return b.Dial(ctx) },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { hangUp(b.t, c) })
	return c
}

func hangUp(t *testing.T, c *iothub.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
	defer cancel()
	_ = c.Close(ctx) // may have ended long ago
}

// telemetry sends messages with the numbers from to to-1 and waits until the hub has them.
func telemetry(t *testing.T, c *iothub.Client, from, to int) {
	t.Helper()
	var receipts []*iothub.Receipt
	for n := from; n < to; n++ {
		r, err := c.Send(t.Context(), &iothub.Message{ID: fmt.Sprint("m-", n), Body: fmt.Append(nil, n)})
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	for _, r := range receipts {
		if o := r.Wait(t.Context()); o.State != iothub.Accepted {
			t.Fatalf("telemetry: %+v", o)
		}
	}
}

// receive returns the device's next command.
func receive(t *testing.T, c *iothub.Client) *iothub.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, err := c.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func settle(t *testing.T, c *iothub.Client, d *iothub.Delivery, s iothub.Settlement) {
	t.Helper()
	if err := c.Settle(t.Context(), d, s, "because"); err != nil {
		t.Fatal(err)
	}
}
