package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/go-amqp"
)

// Event is one telemetry message.
type Event struct {
	Device      string
	Partition   string
	Sequence    int64
	Offset      string
	Enqueued    time.Time
	MessageID   string // as text, "" without one
	ContentType string
	Properties  map[string]string // application properties
	Annotations map[string]any    // what the hub stamped, in the types of JSON
	Body        []byte
}

// From is where in each partition to begin. The zero value is the earliest event kept.
type From struct {
	// Latest begins after the newest event there is.
	Latest bool
	// Sequence begins at this sequence number, when not nil.
	Sequence *int64
	// Offset begins at the event with this offset, as Event.Offset has it, when not "".
	Offset string
	// Time begins at the first event enqueued at or after it, when not zero.
	Time time.Time
}

// EventsOptions says what to follow.
type EventsOptions struct {
	From From
	// ConsumerGroup defaults to $Default.
	ConsumerGroup string
	// Partitions are the ids of those to follow; empty means all.
	Partitions []string
	// Lost hears of a connection that failed and will be made again; nil hears nothing.
	Lost func(err error, retryIn time.Duration)
	// Ready is called each time the partitions are attached; nil is allowed.
	Ready func(partitions int)
}

// eventCredit is how many events of a partition may be under way.
const eventCredit = 300

// Events follows the telemetry of the partitions: take is called for one event at a time, in order within a partition. It returns nil when ctx is done or take returned
// false. After a fault each partition goes on behind its last event, so that nothing is lost and nothing comes twice. Only a certificate that is not
// trusted and a refusal of the policy, of a partition or of the consumer group end it.
func (c *Client) Events(ctx context.Context, o *EventsOptions, take func(*Event) (more bool)) error {
	if o == nil {
		o = &EventsOptions{}
	}
	f := &follower{c: c, o: *o, take: take, last: map[string]int64{}}
	if f.o.ConsumerGroup == "" {
		f.o.ConsumerGroup = "$Default"
	}
	return persist(ctx, o.Lost, func(ctx context.Context) (bool, error) {
		if err := f.once(ctx); !errors.Is(err, errEnough) {
			return false, err
		}
		return true, nil
	})
}

var errEnough = errors.New("the caller has enough")

// follower is one call of Events: what it has seen survives its connections.
type follower struct {
	c    *Client
	o    EventsOptions
	mu   sync.Mutex // one take at a time
	take func(*Event) bool
	last map[string]int64 // sequence number by partition
}

// once follows until something fails.
func (f *follower) once(ctx context.Context) error {
	conn, entity, err := f.c.telemetryConn(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	partitions, err := f.choose(ctx, conn.Conn, entity)
	if err != nil {
		return err
	}
	receivers, err := f.attach(ctx, conn.Conn, entity, partitions)
	if err != nil {
		return err
	}
	if f.o.Ready != nil {
		f.o.Ready(len(receivers))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for i, rcv := range receivers {
		wg.Go(func() { cancel(f.follow(ctx, rcv, partitions[i].id)) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

// choose returns the partitions to follow.
func (f *follower) choose(ctx context.Context, conn *amqp.Conn, entity string) ([]partition, error) {
	all, err := readPartitions(ctx, conn, entity)
	if err != nil || len(f.o.Partitions) == 0 {
		return all, err
	}
	var ids []string
	for _, p := range all {
		ids = append(ids, p.id)
	}
	for _, id := range f.o.Partitions {
		if !slices.Contains(ids, id) {
			return nil, fmt.Errorf("events: %w: %q; there are %s", ErrPartitionUnknown, id, strings.Join(ids, ", "))
		}
	}
	return slices.DeleteFunc(all, func(p partition) bool { return !slices.Contains(f.o.Partitions, p.id) }), nil
}

func (f *follower) attach(ctx context.Context, conn *amqp.Conn, entity string, partitions []partition) ([]*amqp.Receiver, error) {
	sess, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("events: %w", explain(err))
	}
	receivers := make([]*amqp.Receiver, len(partitions))
	for i, p := range partitions {
		address := entity + "/ConsumerGroups/" + f.o.ConsumerGroup + "/Partitions/" + p.id
		receivers[i], err = sess.NewReceiver(ctx, address, &amqp.ReceiverOptions{
			Credit: eventCredit, Filters: []amqp.LinkFilter{amqp.NewSelectorFilter(f.selector(p))},
		})
		if err != nil {
			return nil, fmt.Errorf("events of partition %s: %w", p.id, explain(err))
		}
	}
	return receivers, nil
}

// selector says from where to read a partition, in the words of Event Hubs.
func (f *follower) selector(p partition) string {
	const sequence = "amqp.annotation.x-opt-sequence-number > "
	last, seen := f.last[p.id]
	switch from := f.o.From; {
	case seen:
		return sequence + quoted(last)
	case from.Latest:
		f.last[p.id] = p.last // what comes while we reconnect is not skipped
		return sequence + quoted(p.last)
	case from.Sequence != nil:
		return sequence + quoted(*from.Sequence-1)
	case from.Offset != "":
		return "amqp.annotation.x-opt-offset >= '" + from.Offset + "'"
	case !from.Time.IsZero():
		return "amqp.annotation.x-opt-enqueued-time >= " + quoted(from.Time.UnixMilli())
	}
	return "amqp.annotation.x-opt-offset > '-1'"
}

func quoted(n int64) string { return "'" + strconv.FormatInt(n, 10) + "'" }

func (f *follower) follow(ctx context.Context, rcv *amqp.Receiver, id string) error {
	for {
		m, err := rcv.Receive(ctx, nil)
		if err != nil {
			return fmt.Errorf("events of partition %s: %w", id, explain(err))
		}
		if err := rcv.AcceptMessage(ctx, m); err != nil {
			return fmt.Errorf("events of partition %s: settle: %w", id, explain(err))
		}
		if err := f.hand(ctx, newEvent(m, id)); err != nil {
			return err
		}
	}
}

// hand gives an event to the caller, unless following has ended meanwhile: then it comes again.
func (f *follower) hand(ctx context.Context, e *Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	more := f.take(e)
	f.last[e.Partition] = e.Sequence
	if !more {
		return errEnough
	}
	return nil
}

// telemetryConn asks the hub where telemetry is read, and connects there.
func (c *Client) telemetryConn(ctx context.Context) (_ *conn, entity string, err error) {
	hub, err := c.hubConn(ctx)
	if err != nil {
		return nil, "", err
	}
	sess, err := hub.NewSession(ctx, nil)
	if err != nil {
		hub.close()
		return nil, "", fmt.Errorf("events: %w", explain(err))
	}
	_, err = sess.NewReceiver(ctx, "/messages/events/$management", &amqp.ReceiverOptions{Credit: -1})
	if err == nil { // no redirect: the hub serves telemetry itself
		return hub, "messages/events", nil
	}
	hub.close() // it has said what it had to say
	remote, ok := errors.AsType[*amqp.Error](err)
	if !ok || remote.Condition != amqp.ErrCondLinkRedirect {
		return nil, "", fmt.Errorf("events: %w", explain(err))
	}
	r, err := parseRedirect(remote.Info)
	if err != nil {
		return nil, "", err
	}
	events, err := c.eventsConn(ctx, r)
	return events, r.entity, err
}
