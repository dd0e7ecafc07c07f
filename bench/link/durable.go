package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"iotagent/agent"
	"iotagent/iothub"
	"iotagent/iothub/sas"
	"iotagent/outbox"
)

// The clients that drain a backlog from the disk.
const (
	agentSingle = "iotagent-single"
	agentBatch  = "iotagent-batch"
)

// outboxMax keeps the quota out of the way: this is no benchmark of dropping.
const outboxMax = 4 << 30

func openQueue(dir string) (*outbox.Outbox, error) {
	return outbox.Open(dir, &outbox.Options{MaxBytes: outboxMax, MinFree: -1})
}

// fillCommand makes a backlog: each message is fsynced when it ends.
func fillCommand(ctx context.Context, args []string) (err error) {
	f := flag.NewFlagSet("fill", flag.ContinueOnError)
	dir, n := f.String("data", "", "state directory"), f.Int("messages", 0, "how many")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := os.MkdirAll(*dir, 0o700); err != nil {
		return err
	}
	q, err := openQueue(*dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	e := &agent.Envelope{ContentType: "application/json", ContentEncoding: "utf-8", Created: time.Now(), Body: body()}
	for left := *n; left > 0; left -= 1000 {
		ms := make([]outbox.Message, min(left, 1000))
		for i := range ms {
			ms[i] = outbox.Message{Lane: outbox.Normal, Durable: true, Readings: 1, Body: e.Encode()}
		}
		if _, err := q.Put(ctx, ms...); err != nil {
			return err
		}
	}
	return nil
}

// counted notices when the last of the messages is acknowledged, and that the acknowledgements lie on the disk.
type counted struct {
	*outbox.Outbox
	left atomic.Int64
	done func()
}

func (c *counted) Ack(ids ...outbox.ID) error {
	if err := c.Outbox.Ack(ids...); err != nil {
		return err
	}
	if c.left.Add(-int64(len(ids))) == 0 {
		c.done()
	}
	return nil
}

func drainSingle(ctx context.Context, j *job) (result, error) { return j.drain(ctx, false) }

func drainBatch(ctx context.Context, j *job) (result, error) { return j.drain(ctx, true) }

// drain is `iotagent run --until-drained`, measured from the end of the dialling until every acknowledgement is durable.
func (j *job) drain(ctx context.Context, batch bool) (r result, err error) {
	q, err := openQueue(j.Data)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	dialer, err := j.dialer()
	if err != nil {
		return r, err
	}
	var m meter
	var failed error
	c := &counted{Outbox: q}
	c.left.Store(int64(j.Messages))
	c.done = func() {
		if failed = q.Sync(ctx); failed == nil {
			r, failed = m.stop()
		}
	}
	o := &agent.Options{
		Queue: c, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Dial: func(ctx context.Context) (*iothub.Client, error) {
			client, err := dialer.Dial(ctx)
			return client, errors.Join(err, m.start())
		},
	}
	if !batch {
		o.Uplink.BatchMessages = 1
	}
	if err := agent.New(o).Drain(ctx); err != nil {
		return r, err
	}
	if c.left.Load() != 0 {
		return r, errors.New("not everything was acknowledged")
	}
	return r, failed
}

func (j *job) dialer() (*iothub.Dialer, error) {
	config, err := j.roots()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(j.Address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	return iothub.NewDialer(&iothub.Options{
		Host: "localhost", Port: n, DeviceID: "bench", Key: sas.NewKey([]byte("any key will do: the sink believes it")), TLS: config, TelemetryOnly: true,
	}), nil
}
