package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/Azure/go-amqp"
)

// The clients that are nothing but the AMQP library.
const (
	rawBlocking  = "raw-blocking"
	rawPipelined = "raw-pipelined"
	rawNamed     = "raw-named"
	rawBatches   = "raw-batches"
)

const (
	// depth is how many receipts a pipelined client leaves open.
	depth = 512
	// rawBatch is how many messages a raw batch holds.
	rawBatch = 100
)

// rawClient is one link of the AMQP library over TLS.
type rawClient struct {
	conn   *amqp.Conn
	sender *amqp.Sender
}

func (j *job) dialRaw(ctx context.Context) (*rawClient, error) {
	config, err := j.roots()
	if err != nil {
		return nil, err
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", j.Address)
	if err != nil {
		return nil, err
	}
	c := &rawClient{}
	if c.conn, err = amqp.NewConn(ctx, conn, &amqp.ConnOptions{HostName: "localhost"}); err != nil {
		return nil, err
	}
	session, err := c.conn.NewSession(ctx, nil)
	if err == nil {
		c.sender, err = session.NewSender(ctx, "/devices/bench/messages/events", nil)
	}
	if err != nil {
		return nil, errors.Join(err, c.conn.Close())
	}
	return c, nil
}

// sendBlocking waits for the outcome of each message before it sends the next.
func sendBlocking(ctx context.Context, j *job) (r result, err error) {
	return j.measureRaw(ctx, func(c *rawClient) error {
		b := body()
		for range j.Messages {
			if err := c.sender.Send(ctx, amqp.NewMessage(b), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// sendPipelined sends the bare body.
func sendPipelined(ctx context.Context, j *job) (result, error) {
	b := body()
	return j.pipeline(ctx, j.Messages, func(int) (*amqp.Message, error) { return amqp.NewMessage(b), nil })
}

// sendNamed sends with all that iotagent says about a message: an id, the kind of content, the time made, the place in its queue.
func sendNamed(ctx context.Context, j *job) (result, error) {
	b := body()
	return j.pipeline(ctx, j.Messages, func(n int) (*amqp.Message, error) { return named(b, n), nil })
}

func named(b []byte, n int) *amqp.Message {
	const epoch = "0123456789abcdef"
	seq, contentType, encoding := strconv.Itoa(n), "application/json", "utf-8"
	m := amqp.NewMessage(b)
	m.Properties = &amqp.MessageProperties{MessageID: epoch + "-normal-" + seq, ContentType: &contentType, ContentEncoding: &encoding}
	m.ApplicationProperties = map[string]any{
		"epoch": epoch, "lane": "normal", "seq": seq, "iothub-creation-time-utc": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	return m
}

// sendBatches sends bare bodies, a hundred in each batch.
func sendBatches(ctx context.Context, j *job) (result, error) {
	b := body()
	return j.pipeline(ctx, j.Messages/rawBatch, func(int) (*amqp.Message, error) {
		batch := &amqp.Message{Format: batchFormat, Data: make([][]byte, rawBatch)}
		for i := range batch.Data {
			var err error
			if batch.Data[i], err = amqp.NewMessage(b).MarshalBinary(); err != nil {
				return nil, err
			}
		}
		return batch, nil
	})
}

// pipeline sends n transfers with depth receipts open.
func (j *job) pipeline(ctx context.Context, n int, make1 func(n int) (*amqp.Message, error)) (result, error) {
	return j.measureRaw(ctx, func(c *rawClient) error {
		receipts := make(chan amqp.SendReceipt, depth)
		settled := make(chan error, 1)
		go func() { settled <- await(ctx, receipts) }()
		for i := range n {
			m, err := make1(i)
			if err != nil {
				return err
			}
			r, err := c.sender.SendWithReceipt(ctx, m, nil)
			if err != nil {
				return err // the process ends, and with it who waits
			}
			receipts <- r
		}
		close(receipts)
		return <-settled
	})
}

// await waits for every receipt and returns the first trouble.
func await(ctx context.Context, receipts <-chan amqp.SendReceipt) (first error) {
	for r := range receipts {
		state, err := r.Wait(ctx)
		if _, ok := state.(*amqp.StateAccepted); err == nil && !ok {
			err = fmt.Errorf("settled with %T", state)
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (j *job) measureRaw(ctx context.Context, send func(*rawClient) error) (r result, err error) {
	c, err := j.dialRaw(ctx)
	if err != nil {
		return r, err
	}
	var m meter
	if err := m.start(); err != nil {
		return r, err
	}
	if err := send(c); err != nil {
		return r, errors.Join(err, c.conn.Close())
	}
	if r, err = m.stop(); err != nil {
		return r, err
	}
	return r, c.conn.Close()
}
