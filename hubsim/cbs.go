package hubsim

import (
	"slices"
	"strings"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim/amqpd"
	"iotagent/iothub/sas"
)

// maxTokens is how many identities may be authenticated on one connection.
const maxTokens = 1000

const tooManyTokens = "Too many tokens on this connection (403005 IotHubMaxCbsTokenExceeded)." //nolint:gosec // the text of an error, no credential

// maxReplies is how many answers wait for a client that asks and does not listen; the oldest goes.
const maxReplies = 1000

// reply is an answer that waits for credit on the client's receiver.
type reply struct {
	to      string // the request's reply-to
	payload []byte
}

// putTokenLocked carries out one request to $cbs ("AMQP Claims-based Security Version 1.0", as Azure services speak it).
func (c *conn) putTokenLocked(d *amqpd.Incoming) {
	m, err := decodeMessage(d.Payload)
	if err != nil {
		d.Settle(rejected(condDecode, err.Error()))
		return
	}
	verdict := c.s.tokenFault()
	if verdict.Swallow {
		d.Settle(amqpd.State{Kind: amqpd.Accepted})
		return
	}
	d.Settle(amqpd.State{Kind: amqpd.Accepted})
	status, text := verdict.Status, verdict.Text
	if status == 0 {
		status, text = c.judgeTokenLocked(m)
	}
	if status >= 300 {
		c.s.opts.Logger.Info("token refused", "status", status, "reason", text)
	}
	c.replyLocked(nodeCBS, m, status, text, nil)
}

// judgeTokenLocked checks a put-token request and puts what it grants into force.
func (c *conn) judgeTokenLocked(m *amqp.Message) (int32, string) {
	property := func(key string) string { return plainText(m.ApplicationProperties[key]) }
	switch {
	case property("operation") != "put-token":
		return 400, "operation: want put-token"
	case !strings.EqualFold(property("type"), "servicebus.windows.net:sastoken") && !strings.EqualFold(property("type"), "amqp:sastoken"):
		return 400, "type: want servicebus.windows.net:sastoken"
	case property("name") == "":
		return 400, "name is missing"
	}
	text, ok := m.Value.(string)
	if !ok {
		text = string(bodyOf(m))
	}
	if c.s.opts.TokensAtAttach {
		return c.keepTokenLocked(text)
	}
	g, denied := c.s.authorizeLocked(text)
	if denied != nil {
		return denied.status, denied.text
	}
	key := g.resource + "|" + g.device
	if c.grants[key] == nil && len(c.grants) >= maxTokens {
		return 403, tooManyTokens
	}
	c.addGrantLocked(key, g)
	return 200, "OK"
}

// keepTokenLocked takes a token by its shape alone; the next link that is attached has it judged.
func (c *conn) keepTokenLocked(text string) (int32, string) {
	t, err := sas.ParseToken(text)
	if err != nil {
		return 400, err.Error()
	}
	if _, known := c.unjudged[t.Resource]; !known && len(c.unjudged)+len(c.grants) >= maxTokens {
		return 403, tooManyTokens
	}
	c.unjudged[t.Resource] = text
	return 200, "OK"
}

// judgeKeptLocked puts the tokens that were taken unseen into force, and forgets those that are no good.
func (c *conn) judgeKeptLocked() {
	for resource, text := range c.unjudged {
		delete(c.unjudged, resource)
		g, denied := c.s.authorizeLocked(text)
		if denied != nil {
			c.s.opts.Logger.Info("token refused", "status", denied.status, "reason", denied.text)
			continue
		}
		c.addGrantLocked(g.resource+"|"+g.device, g)
	}
}

// replyLocked answers a request on the client's receiver at the same node; the message-id comes back as it was, type and all.
func (c *conn) replyLocked(at node, request *amqp.Message, status int32, text string, value any) {
	answer := &amqp.Message{
		Properties:            &amqp.MessageProperties{},
		ApplicationProperties: map[string]any{"status-code": status, "status-description": text},
		Value:                 value,
	}
	if value == nil {
		answer.Value = amqp.Null{}
	}
	var to string
	if p := request.Properties; p != nil {
		answer.Properties.CorrelationID = p.MessageID
		to = deref(p.ReplyTo)
	}
	c.queueLocked(place{node: at}, to, answer)
}

// queueLocked sends a message to the client's receiver at a place, now or when that has credit.
func (c *conn) queueLocked(at place, to string, m *amqp.Message) {
	payload, err := encodeMessage(m)
	if err != nil {
		c.s.opts.Logger.Warn("reply cannot be encoded", "error", err)
		return
	}
	waiting := append(c.replies[at], reply{to, payload})
	c.replies[at] = waiting[max(0, len(waiting)-maxReplies):]
	c.flushRepliesLocked(at)
}

// flushRepliesLocked sends the answers that a receiver has credit for. A client may send its request before its receiver is attached.
func (c *conn) flushRepliesLocked(at place) {
	c.replies[at] = slices.DeleteFunc(c.replies[at], func(r reply) bool {
		l := c.receiverLocked(at, r.to)
		if l == nil || l.wire.Credit() == 0 {
			return false
		}
		_, err := l.wire.Send(r.payload, &amqpd.SendOptions{Settled: true})
		return err == nil
	})
}

// receiverLocked returns the receiver whose target is the reply address or, as most clients name none, the newest one.
func (c *conn) receiverLocked(at place, to string) *link {
	var newest *link
	for l := range c.links {
		if l.place() != at || !l.receives() {
			continue
		}
		if to != "" && l.wire.Target != nil && l.wire.Target.Address == to {
			return l
		}
		if newest == nil || l.seq > newest.seq {
			newest = l
		}
	}
	return newest
}
