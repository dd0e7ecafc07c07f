package hubsim_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"iotagent/hubsim"
)

// again closes the hub and starts it on what it has kept.
func (b *bed) again(o *hubsim.Options) *bed {
	b.t.Helper()
	if err := b.Close(); err != nil {
		b.t.Fatal(err)
	}
	s, err := hubsim.New(o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.t.Error(err)
		}
	})
	return &bed{s, b.t, b.device}
}

func TestEventsSurviveARestart(t *testing.T) {
	o := &hubsim.Options{StateDir: t.TempDir(), KeepMessages: true, Retention: 10}
	b := newBed(t, o)
	total := 0
	for _, n := range []int{3, 0, 9, 25, 1} {
		c := b.connectDevice()
		s := c.sender(eventsAddress)
		for range n {
			total++
			m := amqp.NewMessage([]byte(fmt.Sprintf("body <%d>\xff", total)))
			m.Properties = &amqp.MessageProperties{MessageID: fmt.Sprint(total)}
			m.ApplicationProperties = map[string]any{"n": int64(total), "text": "t"}
			accepted(t, c.send(s, m))
		}
		want := b.Events()
		b = b.again(o)
		if diff := cmp.Diff(want, b.Events(), cmpopts.IgnoreUnexported(hubsim.Event{}), cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("after %d events (-before +after):\n%s", total, diff)
		}
		if b.Accepted() != total {
			t.Errorf("%d accepted, want %d", b.Accepted(), total)
		}
	}
	if got := len(b.Events()); got != 10 {
		t.Errorf("%d events kept, want 10", got)
	}
	files, err := filepath.Glob(filepath.Join(o.StateDir, "events", "*"))
	if err != nil || len(files) > 2 {
		t.Errorf("files %v %v: what retention has left behind is not removed", files, err)
	}
	// Services read them as before, and the numbers go on.
	last := b.Events()[9]
	c := b.connectDevice()
	accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage([]byte("new"))))
	if e := b.Events()[9]; e.Sequence != last.Sequence+1 || e.Offset == last.Offset {
		t.Errorf("the next event is %d at %s after %d at %s", e.Sequence, e.Offset, last.Sequence, last.Offset)
	}
	service := b.connectService()
	r := service.receiver(fmt.Sprintf("iothub-ehub-localhost/ConsumerGroups/$Default/Partitions/%d", last.Partition), &amqp.ReceiverOptions{Credit: 20})
	if m := service.receive(r); !bytes.HasPrefix(m.GetData(), []byte("body <30>")) || m.Annotations["x-opt-sequence-number"] != int64(29) {
		t.Errorf("first event %q %v", m.GetData(), m.Annotations)
	}
}

func TestCommandsAndFeedbackSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &hubsim.Options{StateDir: t.TempDir(), KeepMessages: true, FeedbackDelay: 40 * time.Second}
		b := newBed(t, o)
		send := func(id, ack string, expires time.Duration) {
			at := time.Now().Add(expires)
			m := &amqp.Message{
				Properties:            &amqp.MessageProperties{MessageID: id, AbsoluteExpiryTime: &at},
				ApplicationProperties: map[string]any{"iothub-ack": ack}, Data: [][]byte{[]byte(id)},
			}
			if err := b.SendCommand("pi-17", m); err != nil {
				t.Fatal(err)
			}
		}
		send("done", "full", time.Hour)
		send("delivered", "none", time.Hour)
		send("waiting", "none", time.Hour)
		send("expires", "negative", 30*time.Second)
		c := b.connectDevice()
		r := c.receiver(commandsAddress, &amqp.ReceiverOptions{Credit: 2})
		done, delivered := c.receive(r), c.receive(r)
		if err := r.AcceptMessage(t.Context(), done); err != nil {
			t.Fatal(err)
		}
		if err := r.ReleaseMessage(t.Context(), delivered); err != nil { // and gets it again, locked
			t.Fatal(err)
		}
		for string(c.receive(r).GetData()) != "delivered" { // "waiting" may come first
		}
		synctest.Wait()

		b = b.again(o)
		if n := b.Queued("pi-17"); n != 3 {
			t.Errorf("%d commands queued, want 3", n)
		}
		<-time.After(31 * time.Second)
		c = b.connectDevice()
		r = c.receiver(commandsAddress, &amqp.ReceiverOptions{Credit: 5})
		var got []string
		for range 2 {
			m := c.receive(r)
			got = append(got, fmt.Sprint(string(m.GetData()), " ", m.Annotations["x-opt-sequence-number"], " ", m.Annotations["iothub-deliverycount"]))
		}
		if want := []string{"delivered 2 1", "waiting 3 0"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for i := range 2 { // the records come once, also if the hub stops before a service takes them
			service := b.connectService()
			feedback := service.receiver("/messages/servicebound/feedback", &amqp.ReceiverOptions{Credit: 1})
			text := string(service.receive(feedback).GetData())
			if strings.Count(text, "originalMessageId") != 2 || !strings.Contains(text, `"Success"`) || !strings.Contains(text, `"Expired"`) {
				t.Errorf("feedback %d: %s", i, text)
			}
			b = b.again(o)
		}
		send("later", "none", time.Hour)
		c = b.connectDevice()
		r = c.receiver(commandsAddress, &amqp.ReceiverOptions{Credit: 5})
		for _, want := range []uint64{2, 3, 5} { // numbers are never given twice
			if seq := c.receive(r).Annotations["x-opt-sequence-number"]; seq != want {
				t.Errorf("sequence number %v, want %d", seq, want)
			}
		}
	})
}

func TestJournalIsCompacted(t *testing.T) {
	o := &hubsim.Options{StateDir: t.TempDir(), KeepMessages: true}
	b := newBed(t, o)
	for range 3000 {
		if err := b.SendCommand("pi-17", amqp.NewMessage([]byte("x"))); err != nil {
			t.Fatal(err)
		}
		if _, err := b.PurgeCommands("pi-17"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.SendCommand("pi-17", amqp.NewMessage([]byte("the last"))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(o.StateDir, "queues.jsonl"))
	if lines := bytes.Count(text, []byte("\n")); err != nil || lines > 2100 {
		t.Errorf("%d lines, %v", lines, err)
	}
	if b = b.again(o); b.Queued("pi-17") != 1 {
		t.Errorf("%d commands", b.Queued("pi-17"))
	}
}

func TestCommandsOfADeviceThatWasRegisteredAnew(t *testing.T) {
	o := &hubsim.Options{StateDir: t.TempDir(), KeepMessages: true}
	b := newBed(t, o)
	if err := b.SendCommand("pi-17", amqp.NewMessage([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	if err := b.RemoveDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AddDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	if b = b.again(o); b.Queued("pi-17") != 0 {
		t.Error("the new device has the old one's command")
	}
}

func TestTornAndDamagedLines(t *testing.T) {
	for _, name := range []string{"queues.jsonl", "events"} {
		o := &hubsim.Options{StateDir: t.TempDir(), KeepMessages: true}
		b := newBed(t, o)
		c := b.connectDevice()
		s := c.sender(eventsAddress)
		for range 2 {
			accepted(t, c.send(s, amqp.NewMessage([]byte("x"))))
			if err := b.SendCommand("pi-17", amqp.NewMessage([]byte("x"))); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(o.StateDir, name)
		if name == "events" {
			files, err := filepath.Glob(filepath.Join(path, "*"))
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			path = files[0]
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range []int{1, 30} { // the last line is torn: the one before it is there
			if err := os.WriteFile(path, whole[:len(whole)-cut], 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second start finds it mended
				again, err := hubsim.New(o)
				if err != nil {
					t.Fatal(err)
				}
				if got := len(again.Events()) + again.Queued("pi-17"); got != 3 {
					t.Errorf("%s: %d things left, want 3 of 4", name, got)
				}
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if name != "events" {
				break // it is written anew at each start
			}
		}
		first, rest, _ := bytes.Cut(whole, []byte("\n"))
		first[len(first)/2], first[0] = '{', 'x'
		if err := os.WriteFile(path, slices.Concat(first, []byte("\n"), rest), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := hubsim.New(o); err == nil || !strings.Contains(err.Error(), path+":1 ") {
			t.Errorf("%s: %v, want an error that names file and line", name, err)
		}
	}
}

func TestOneHubAtATimeKeepsMessages(t *testing.T) {
	o := &hubsim.Options{StateDir: t.TempDir(), KeepMessages: true}
	b := newBed(t, o)
	if _, err := hubsim.New(o); err == nil || !strings.Contains(err.Error(), "another hubsim") {
		t.Errorf("a second hub: %v", err)
	}
	b.again(o)
}
