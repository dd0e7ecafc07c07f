package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

const device = "pi-17"

// hub is a local IoT Hub in the test's process, with all its faults at hand. Programs reach it over TLS and by the files in dir.
type hub struct {
	*hubsim.Server
	t    *testing.T
	dir  string
	addr string
	// dials counts connections.
	dials atomic.Int64
	close func()
}

// newHub starts a hub that knows one device.
func newHub(t *testing.T, o hubsim.Options) *hub {
	t.Helper()
	o.StateDir = t.TempDir()
	h := openHub(t, o, "127.0.0.1:0")
	return h
}

// openHub starts a hub in its state directory, at an address.
func openHub(t *testing.T, o hubsim.Options, addr string) *hub {
	t.Helper()
	s, err := hubsim.New(&o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddDevice(device); err != nil && !errors.Is(err, hubsim.ErrDeviceExists) {
		t.Fatal(err)
	}
	l, err := s.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{Server: s, t: t, dir: o.StateDir, addr: l.Addr().String()}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.WithoutCancel(t.Context()), &countingListener{l, &h.dials}) }()
	h.close = sync.OnceFunc(func() {
		err := s.Close()
		_ = l.Close() // closed already, unless Serve came too late
		if err := errors.Join(err, <-served); err != nil && !errors.Is(err, hubsim.ErrClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(h.close)
	return h
}

type countingListener struct {
	net.Listener
	n *atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

// until waits for a state of the hub.
func (h *hub) until(what string, cond func() bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if err := h.WaitFor(ctx, cond); err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
}

// online waits for both links of the device.
func (h *hub) online() {
	h.t.Helper()
	h.until("the device's links", func() bool { return len(h.Links(device)) == 2 })
}

// secrets are the texts that no program may show.
func (h *hub) secrets() []string {
	c := h.Devices()[device]
	return []string{c.Key.Text(), "sig="}
}

// message is one telemetry message as a reader of the hub tells it apart.
type message struct {
	id, epoch, lane, kind, body string
	seq                         int
	properties                  map[string]string
}

// messages returns what the hub accepted, first arrivals only, in that order; the test fails for an id that came with two contents.
func (h *hub) messages() []message {
	h.t.Helper()
	seen := map[string]string{}
	var all []message
	for _, e := range h.Events() {
		body := string(e.Data())
		old, again := seen[e.MessageID]
		if again && old != body {
			h.t.Errorf("%s came with two contents:\n%s\n%s", e.MessageID, old, body)
		}
		if again {
			continue
		}
		seen[e.MessageID] = body
		seq, err := strconv.Atoi(e.Properties["seq"])
		if err != nil {
			h.t.Errorf("%s: seq %q", e.MessageID, e.Properties["seq"])
		}
		all = append(all, message{
			id: e.MessageID, epoch: e.Properties["epoch"], lane: e.Properties["lane"], kind: e.Properties["kind"], seq: seq,
			body: body, properties: e.Properties,
		})
	}
	return all
}

// ofKind returns the messages of one kind: "" for readings and what was sent by hand.
func (h *hub) ofKind(kind string) []message {
	h.t.Helper()
	return slices.DeleteFunc(h.messages(), func(m message) bool { return m.kind != kind })
}

// whole fails the test when a sequence has a hole, in any lane of any epoch, or a gap was declared.
func (h *hub) whole() {
	h.t.Helper()
	h.wholeBut(0)
}

// wholeBut is whole after kills of the daemon: readings that were in memory may be missing where an unclean-stop gap says so.
func (h *hub) wholeBut(kills int) {
	h.t.Helper()
	seqs := map[string][]int{}
	excused := map[string]int{}
	for _, m := range h.messages() {
		seqs[m.epoch+"-"+m.lane] = append(seqs[m.epoch+"-"+m.lane], m.seq)
		if m.kind != "gap" {
			continue
		}
		var body struct {
			Gap struct {
				Epoch, Lane, Reason string
				From, To            int
			}
		}
		if err := json.Unmarshal([]byte(m.body), &body); err != nil {
			h.t.Fatal(err)
		}
		if g := body.Gap; g.Reason != "unclean-stop" || g.Lane == "alarm" || g.To != 0 || len(excused) == kills && excused[g.Epoch+"-"+g.Lane] == 0 {
			h.t.Errorf("a gap was declared: %s", m.body)
		} else {
			excused[g.Epoch+"-"+g.Lane] = g.From
		}
	}
	for _, name := range slices.Sorted(maps.Keys(seqs)) {
		slices.Sort(seqs[name])
		for i, seq := range seqs[name] {
			if seq != i+1 && (excused[name] == 0 || i+1 < excused[name]) {
				h.t.Errorf("%s: message %d is missing", name, i+1)
				break
			}
		}
	}
}

// readings counts the readings of a sensor that arrived.
func (h *hub) readings(sensor string) int {
	n := 0
	for _, m := range h.ofKind("") {
		n += strings.Count(m.body, `"sensor":"`+sensor+`"`)
	}
	return n
}

// command queues a command and returns its message-id.
func (h *hub) command(id, name, body string) {
	h.t.Helper()
	h.commandUntil(id, name, body, time.Time{})
}

func (h *hub) commandUntil(id, name, body string, expires time.Time) {
	h.t.Helper()
	m := &amqp.Message{
		Properties:            &amqp.MessageProperties{MessageID: id},
		ApplicationProperties: map[string]any{"command": name, "iothub-ack": "full"},
		Data:                  [][]byte{[]byte(body)},
	}
	if !expires.IsZero() {
		m.Properties.AbsoluteExpiryTime = &expires
	}
	if err := h.SendCommand(device, m); err != nil {
		h.t.Fatal(err)
	}
}

// feedback waits for the outcomes of a command: as many as are wanted, in order.
func (h *hub) feedback(id string, want ...string) {
	h.t.Helper()
	got := func() []string {
		var all []string
		for _, r := range h.Feedback() {
			if r.OriginalMessageID == id {
				all = append(all, r.StatusCode)
			}
		}
		return all
	}
	h.until("feedback of "+id, func() bool { return len(got()) >= len(want) })
	if g := got(); !slices.Equal(g, want) {
		h.t.Errorf("feedback of %s: %q, want %q", id, g, want)
	}
}

// correlations reads the telemetry as a back end does and returns the correlation-ids by message-id, of n messages.
func (h *hub) correlations(n int) map[string]any {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	owner, err := h.ServiceConnection("iothubowner")
	if err != nil {
		h.t.Fatal(err)
	}
	nc, err := h.Dial(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	token := owner.Key.Token("localhost", time.Now().Add(24*time.Hour), "iothubowner")
	conn, err := amqp.NewConn(ctx, nc, &amqp.ConnOptions{HostName: "localhost", SASLType: amqp.SASLTypePlain("iothubowner@sas.root.localhost", token)})
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // read everything by then
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	partition := h.Events()[0].Partition // of the one device
	r, err := session.NewReceiver(ctx, "/messages/events/ConsumerGroups/$Default/Partitions/"+strconv.Itoa(partition), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	ids := map[string]any{}
	for range n {
		m, err := r.Receive(ctx, nil)
		if err != nil {
			h.t.Fatal(err)
		}
		ids[m.Properties.MessageID.(string)] = m.Properties.CorrelationID
	}
	return ids
}
