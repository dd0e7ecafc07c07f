package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"iotagent/agent"
	"iotagent/config"
	"iotagent/internal/cli"
	"iotagent/outbox"
)

type sendCommand struct {
	Body  *string           `xor:"what" help:"One message with this body." placeholder:"TEXT"`
	Lines bool              `xor:"what" help:"One message for each line of standard input."`
	Count int               `xor:"what" help:"This many messages of --size bytes each." placeholder:"N"`
	Size  int               `help:"Bytes of each body with --count." default:"200"`
	Prop  map[string]string `help:"Application property, any number of times." placeholder:"K=V" mapsep:"none"`
	Lane  string            `help:"Lane: ${enum}." enum:"alarm,normal,bulk" default:"normal"`
	JSON  bool              `help:"Print the message-ids as JSON, one object a line."`
}

// sendChunk is how many messages go into one commit.
const sendChunk = 500

// Run queues the messages and returns nil only when all of them are on disk.
func (c *sendCommand) Run(ctx context.Context, std cli.IO, path configPath) error {
	if c.Body == nil && !c.Lines && c.Count <= 0 {
		return cli.Fail(cli.Usage, errors.New("nothing to send"), "give --body TEXT, --lines or --count N")
	}
	f, err := path.load()
	if err != nil {
		return err
	}
	put, done, err := openPutter(ctx, f)
	if err != nil {
		return err
	}
	n, err := c.sendAll(ctx, std, put)
	err = errors.Join(err, done())
	if err != nil {
		return cli.Fail(cli.Failed, fmt.Errorf("%d messages queued, then: %w", n, err), "")
	}
	if !c.JSON && n != 1 {
		fmt.Fprintf(std.Out, "%d messages queued\n", n)
	}
	return nil
}

func (c *sendCommand) sendAll(ctx context.Context, std cli.IO, put putter) (n int, err error) {
	chunk := make([]agent.PutMessage, 0, sendChunk)
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		ids, err := put(ctx, chunk)
		if err != nil && len(ids) > 0 {
			return fmt.Errorf("%d more are in memory only, and lost if the daemon ends before the hub has them: %w", len(ids), err)
		}
		if err != nil {
			return err
		}
		c.print(std.Out, ids)
		n += len(ids)
		chunk = chunk[:0]
		return nil
	}
	for body, err := range c.bodies(std.In) {
		if err != nil {
			return n, err
		}
		chunk = append(chunk, c.message(body))
		if len(chunk) == cap(chunk) {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	return n, flush()
}

func (c *sendCommand) print(w io.Writer, ids []string) {
	switch {
	case c.JSON:
		enc := json.NewEncoder(w)
		for _, id := range ids {
			_ = enc.Encode(map[string]string{"message_id": id}) // a closed pipe does not undo the put
		}
	case c.Body != nil:
		fmt.Fprintln(w, ids[0])
	}
}

func (c *sendCommand) message(body []byte) agent.PutMessage {
	m := agent.PutMessage{Lane: c.Lane, Properties: maps.Clone(c.Prop), Body: body}
	switch {
	case json.Valid(body):
		m.ContentType, m.Encoding = "application/json", "utf-8"
	case utf8.Valid(body):
		m.ContentType, m.Encoding = "text/plain", "utf-8"
	default:
		m.ContentType = "application/octet-stream"
	}
	return m
}

// bodies yields what is to be sent.
func (c *sendCommand) bodies(in io.Reader) func(yield func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		switch {
		case c.Body != nil:
			yield([]byte(*c.Body), nil)
		case c.Lines:
			lines := bufio.NewScanner(in)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				if !yield([]byte(lines.Text()), nil) {
					return
				}
			}
			if err := lines.Err(); err != nil {
				yield(nil, fmt.Errorf("standard input: %w", err))
			}
		default:
			for i := range c.Count {
				if !yield(filler(i+1, c.Size), nil) {
					return
				}
			}
		}
	}
}

// filler is a JSON body of exactly size bytes that says which one it is, or as many x where there is no room.
func filler(n, size int) []byte {
	head, tail := fmt.Sprintf(`{"n":%d,"pad":"`, n), `"}`
	if pad := size - len(head) - len(tail); pad >= 0 {
		return []byte(head + strings.Repeat("x", pad) + tail)
	}
	return []byte(strings.Repeat("x", max(size, 0)))
}

// putter queues messages, durable when it returns nil; ids with an error are of messages that are only in memory.
type putter func(ctx context.Context, ms []agent.PutMessage) (ids []string, err error)

// openPutter returns a way into the outbox: through the daemon when it runs, directly when it does not.
func openPutter(ctx context.Context, f *config.File) (put putter, done func() error, err error) {
	err = untilFree(ctx, func() error {
		conn, err := dialControl(ctx, f.Agent.StateDir)
		if err == nil {
			put, done = daemonPutter(conn), conn.Close
			return nil
		}
		if !errors.Is(err, errNoDaemon) {
			return cli.Fail(cli.Failed, err, "run it with sudo, or as a member of the group iotagent")
		}
		q, err := outbox.Open(filepath.Join(f.Agent.StateDir, "outbox"), outboxOptions(f))
		if err != nil {
			return err
		}
		put, done = directPutter(q), q.Close
		return nil
	})
	return put, done, err
}

func daemonPutter(conn net.Conn) putter {
	return func(ctx context.Context, ms []agent.PutMessage) ([]string, error) {
		a, err := agent.Ask(ctx, conn, agent.Request{Op: "put", Messages: ms})
		if a == nil {
			return nil, err
		}
		return a.IDs, err
	}
}

func directPutter(q outbox.Queue) putter {
	return func(ctx context.Context, ms []agent.PutMessage) ([]string, error) {
		return agent.PutAll(ctx, q, time.Now(), ms)
	}
}
