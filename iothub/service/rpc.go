package service

import (
	"context"
	"fmt"

	"github.com/Azure/go-amqp"
)

// caller asks a node questions: request and response, over a pair of links on a session of their own.
type caller struct {
	node string
	sess *amqp.Session
	snd  *amqp.Sender
	rcv  *amqp.Receiver
}

const replyTo = "hubctl-replies"

func newCaller(ctx context.Context, conn *amqp.Conn, node string) (*caller, error) {
	n := &caller{node: node}
	var err error
	if n.sess, err = conn.NewSession(ctx, nil); err != nil {
		return nil, n.failed(err)
	}
	if n.snd, err = n.sess.NewSender(ctx, node, &amqp.SenderOptions{SourceAddress: replyTo}); err != nil {
		return nil, n.failed(err)
	}
	free(ctx, conn, n.snd)
	if n.rcv, err = n.sess.NewReceiver(ctx, node, &amqp.ReceiverOptions{TargetAddress: replyTo, Credit: 4}); err != nil {
		return nil, n.failed(err)
	}
	return n, nil
}

func (n *caller) failed(err error) error { return fmt.Errorf("%s: %w", n.node, explain(err)) }

// close leaves the node; the connection stays.
func (n *caller) close(ctx context.Context) { _ = n.sess.Close(ctx) } // nothing hangs on it

// ask sends a question and returns the answer with its status. What answers an earlier question, which was given up, is passed over.
func (n *caller) ask(ctx context.Context, m *amqp.Message) (answer *amqp.Message, status int64, text string, err error) {
	id, to := NewID(), replyTo
	m.Properties = &amqp.MessageProperties{MessageID: id, To: &n.node, ReplyTo: &to}
	if err := n.snd.Send(ctx, m, nil); err != nil {
		return nil, 0, "", n.failed(err)
	}
	for {
		answer, err := n.rcv.Receive(ctx, nil)
		if err != nil {
			return nil, 0, "", n.failed(err)
		}
		if err := n.rcv.AcceptMessage(ctx, answer); err != nil {
			return nil, 0, "", n.failed(err)
		}
		if p := answer.Properties; p != nil && p.CorrelationID != nil && p.CorrelationID != any(id) {
			continue
		}
		of := answer.ApplicationProperties
		return answer, integer(of["status-code"]), plainText(of["status-description"]), nil
	}
}

// free lets go of whoever sends on s when the connection has ended: the library may wait there for ever for a link that is gone.
func free(ctx context.Context, conn *amqp.Conn, s *amqp.Sender) {
	go func() {
		<-conn.Done()
		_ = s.Close(ctx) // of what has ended; it does not wait for the peer
	}()
}
