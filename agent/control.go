package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"iotagent/internal/clock"
	"iotagent/outbox"
)

// The control socket speaks JSON, one object a line, any number of requests on one connection, each answered before the next: by one line, or
// by several of which all but the last say that there is more. docs/formats.md shows every shape.

// Request is what a client asks.
type Request struct {
	// Op is "status", "put" or one of those on the queue (OpQueueList, …).
	Op string `json:"op"`
	// Messages are for "put": all of them are queued, durable, in this order, or none after the first that fails.
	Messages []PutMessage `json:"messages,omitempty"`
	// Lanes are the lanes that queue-list shows or queue-purge empties; none means all.
	Lanes []string `json:"lanes,omitempty"`
	// Dead means the dead letters in place of what is queued, for queue-list and queue-purge.
	Dead bool `json:"dead,omitempty"`
	// Limit is how many entries queue-list shows at most; 0 for all. Bodies asks for their content too.
	Limit  int  `json:"limit,omitempty"`
	Bodies bool `json:"bodies,omitempty"`
	// Before makes queue-purge spare what was put at that time or later. DryRun makes it count only.
	Before *time.Time `json:"before,omitempty"`
	DryRun bool       `json:"dry_run,omitempty"`
}

// PutMessage is one message for the outbox.
type PutMessage struct {
	Lane        string            `json:"lane"`
	ContentType string            `json:"content_type,omitempty"`
	Encoding    string            `json:"content_encoding,omitempty"`
	Properties  map[string]string `json:"properties,omitempty"`
	Body        []byte            `json:"body"` // base64 on the wire
}

// Answer is what the daemon says.
type Answer struct {
	// Error is empty when the request was carried out.
	Error string `json:"error,omitempty"`
	// Status answers "status".
	Status *Status `json:"status,omitempty"`
	// IDs answer "put": the message-ids, of those that were queued when there is an error.
	IDs []string `json:"ids,omitempty"`
	// Entries answer "queue-list"; More says that another answer follows.
	Entries []QueueEntry `json:"entries,omitzero"`
	More    bool         `json:"more,omitempty"`
	// Report answers "queue-check" and "queue-repair".
	Report *QueueReport `json:"report,omitempty"`
	// Purged answers "queue-purge": what was thrown away before the error, when there is one.
	Purged *QueuePurged `json:"purged,omitempty"`
}

// maxRequest bounds one line; a put of many messages is to be cut by the client.
const maxRequest = 8 << 20

// Control serves the control socket.
type Control struct {
	agent *Agent
	log   *slog.Logger
}

// NewControl returns a server for a's socket.
func NewControl(a *Agent, log *slog.Logger) *Control { return &Control{agent: a, log: log} }

// Serve answers until ctx is done, then closes l and every connection.
func (c *Control) Serve(ctx context.Context, l net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() == nil {
				c.log.Error("control socket closed", "error", err)
			}
			return
		}
		wg.Go(func() { c.serve(ctx, conn) })
	}
}

func (c *Control) serve(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, maxRequest)
	enc := json.NewEncoder(conn)
	for lines.Scan() {
		var req Request
		send := func(a *Answer) error { return enc.Encode(a) }
		var err error
		if bad := json.Unmarshal(lines.Bytes(), &req); bad != nil {
			err = send(&Answer{Error: "request is not JSON: " + bad.Error()})
		} else {
			err = c.answer(ctx, req, send)
		}
		if err != nil {
			return // the client has gone
		}
	}
}

// answer gives each answer of one request to send and returns its error.
func (c *Control) answer(ctx context.Context, req Request, send func(*Answer) error) error {
	switch req.Op {
	case "status":
		s := c.agent.Status()
		return send(&Answer{Status: &s})
	case "put":
		now := c.agent.o.Clock.Stamp()
		at, known := now.True()
		if !known {
			at = now.Wall
		}
		ids, err := PutAll(ctx, c.agent.o.Queue, at, req.Messages)
		a := failed(err)
		a.IDs = ids
		return send(a)
	}
	return AnswerQueue(ctx, c.agent.o.Admin, c.agent.o.Clock.Anchors(), req, send)
}

// PutAll queues messages in one call to the outbox and returns their ids; nil error means all are durable.
func PutAll(ctx context.Context, q outbox.Queue, now time.Time, ms []PutMessage) ([]string, error) {
	batch := make([]outbox.Message, len(ms))
	for i, m := range ms {
		om, err := m.message(now)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
		batch[i] = om
	}
	ids, err := q.Put(ctx, batch...)
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return texts, err
}

func (m PutMessage) message(now time.Time) (outbox.Message, error) {
	lane, err := ParseLane(m.Lane)
	if err != nil {
		return outbox.Message{}, err
	}
	for k := range m.Properties {
		if reservedProperty(k) {
			return outbox.Message{}, fmt.Errorf("property %q is the agent's own; choose another name", k)
		}
	}
	if len(m.Properties) > maxProperties {
		return outbox.Message{}, fmt.Errorf("%d properties; at most %d", len(m.Properties), maxProperties)
	}
	e := Envelope{ContentType: m.ContentType, ContentEncoding: m.Encoding, Properties: m.Properties, Body: m.Body}
	if clock.Plausible(now) {
		e.Created = now
	}
	if err := fits(lane, &e); err != nil {
		return outbox.Message{}, err
	}
	return outbox.Message{Lane: lane, Durable: true, Body: e.Encode()}, nil
}

// ParseLane reads "alarm", "normal" (or "") or "bulk".
func ParseLane(s string) (outbox.Lane, error) {
	switch s {
	case "alarm":
		return outbox.Alarm, nil
	case "normal", "":
		return outbox.Normal, nil
	case "bulk":
		return outbox.Bulk, nil
	}
	return 0, fmt.Errorf("lane %q: want alarm, normal or bulk", s)
}

// Ask sends one request over a connection to the control socket and returns the answer. The error of an answer is returned as an error
// beside it.
func Ask(ctx context.Context, conn net.Conn, req Request) (a *Answer, err error) {
	err = AskEach(ctx, conn, req, func(x *Answer) error { a = x; return nil })
	return a, err
}

// AskEach is Ask for requests with any number of answers, each given to fn as it comes. It returns the first error of fn, after which the
// connection is of no more use, or that of the last answer.
func AskEach(ctx context.Context, conn net.Conn, req Request, fn func(*Answer) error) error {
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	for dec := json.NewDecoder(conn); ; {
		a := new(Answer)
		err := dec.Decode(a)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return errors.New("control socket: the daemon hung up")
		case err != nil:
			return fmt.Errorf("control socket: %w", err)
		}
		if err := fn(a); err != nil {
			return err
		}
		if a.Error != "" {
			return errors.New(a.Error)
		}
		if !a.More {
			return nil
		}
	}
}
