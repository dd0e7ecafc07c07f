package service_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/hubsim"
	"iotagent/iothub"
	"iotagent/iothub/service"
)

// following is one call of Events in the background.
type following struct {
	got   chan *service.Event
	ready chan int
	lost  chan error
	stop  func() error
}

// follow starts to follow and waits until all partitions are attached.
func (b *bed) follow(o *service.EventsOptions) *following {
	b.t.Helper()
	return b.followAs(b.service(), o)
}

func (b *bed) followAs(c *service.Client, o *service.EventsOptions) *following {
	b.t.Helper()
	f := &following{make(chan *service.Event, 1000), make(chan int, 100), make(chan error, 100), nil}
	o.Ready = func(n int) { f.ready <- n }
	o.Lost = func(err error, _ time.Duration) { f.lost <- err }
	ctx, cancel := context.WithCancel(b.t.Context())
	end := make(chan error, 1)
	go func() { end <- c.Events(ctx, o, func(e *service.Event) bool { f.got <- e; return true }) }()
	f.stop = func() error { cancel(); return <-end }
	want := 4
	if len(o.Partitions) > 0 {
		want = len(o.Partitions)
	}
	if n := <-f.ready; n != want {
		b.t.Errorf("%d partitions, want %d", n, want)
	}
	return f
}

// collect takes n events within a minute.
func (f *following) collect(t *testing.T, n int) []*service.Event {
	t.Helper()
	var all []*service.Event
	timeout := time.After(time.Minute)
	for len(all) < n {
		select {
		case e := <-f.got:
			all = append(all, e)
		case <-timeout:
			t.Fatalf("%d events of %d within a minute", len(all), n)
		}
	}
	return all
}

// end stops following and checks that no event is left.
func (f *following) end(t *testing.T) {
	t.Helper()
	select {
	case e := <-f.got:
		t.Errorf("one event too many: %+v", e)
	case <-time.After(5 * time.Minute):
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// bodies checks that each device's events are in order, without gap and repetition, and returns how many each has.
func bodies(t *testing.T, events []*service.Event) map[string]int {
	t.Helper()
	next := map[string]int{}
	for _, e := range events {
		if want := fmt.Sprint(next[e.Device]); string(e.Body) != want || e.MessageID != "m-"+want {
			t.Errorf("%s: got %s (%s), want %s", e.Device, e.Body, e.MessageID, want)
		}
		next[e.Device]++
	}
	return next
}

// fleet is enough devices for every partition to have one.
func fleet() []string {
	return []string{"pi-1", "pi-2", "pi-3", "pi-4", "pi-5", "pi-6", "pi-7", "pi-8"}
}

func counts(n int) map[string]int {
	want := map[string]int{}
	for _, id := range fleet() {
		want[id] = n
	}
	return want
}

func TestEventsOfAllPartitions(t *testing.T) {
	for name, o := range map[string]*hubsim.Options{"redirected": {}, "served by the hub itself": {DirectEvents: true}} {
		t.Run(name, func(t *testing.T) {
			run(t, o, func(t *testing.T, b *bed) {
				devices := map[string]*iothub.Client{}
				for _, id := range fleet() {
					devices[id] = b.device(id)
					telemetry(t, devices[id], 0, 10)
				}
				earliest := b.follow(&service.EventsOptions{})
				old := earliest.collect(t, 80)
				latest := b.follow(&service.EventsOptions{From: service.From{Latest: true}})
				for _, d := range devices {
					telemetry(t, d, 10, 20)
				}
				fresh := latest.collect(t, 80)
				all := append(old, earliest.collect(t, 80)...)
				if diff := cmp.Diff(counts(20), bodies(t, all)); diff != "" {
					t.Error(diff)
				}
				partitions := map[string]bool{}
				for _, e := range all {
					partitions[e.Partition] = true
				}
				if len(partitions) != 4 {
					t.Errorf("events of %v only: the test needs more devices", partitions)
				}
				for _, e := range fresh {
					if len(e.Body) != 2 {
						t.Errorf("latest: got the old event %s of %s", e.Body, e.Device)
					}
				}
				earliest.end(t)
				latest.end(t)
			})
		})
	}
}

func TestEventsFromAPlace(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		device := b.device("pi-17")
		var times []time.Time
		for n := range 6 {
			times = append(times, wall())
			telemetry(t, device, n, n+1)
			time.Sleep(time.Second)
		}
		two, ahead := int64(2), int64(6)
		offset := b.Events()[3].Offset
		for name, test := range map[string]struct {
			from service.From
			want string
		}{
			"earliest":         {service.From{}, "012345"},
			"sequence":         {service.From{Sequence: &two}, "2345"},
			"offset":           {service.From{Offset: offset}, "345"},
			"time":             {service.From{Time: times[3]}, "345"},
			"between":          {service.From{Time: times[3].Add(time.Millisecond)}, "45"},
			"past all":         {service.From{Sequence: &ahead}, ""},
			"before all times": {service.From{Time: times[0].AddDate(-1, 0, 0)}, "012345"},
			"latest":           {service.From{Latest: true}, ""},
		} {
			f := b.follow(&service.EventsOptions{From: test.from})
			var got strings.Builder
			for _, e := range f.collect(t, len(test.want)) {
				got.Write(e.Body)
			}
			if got.String() != test.want {
				t.Errorf("%s: got %s, want %s", name, got.String(), test.want)
			}
			f.end(t)
		}
	})
}

func TestEventsOfSomePartitions(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		want := map[string]int{}
		for _, id := range fleet() {
			telemetry(t, b.device(id), 0, 2)
		}
		for _, e := range b.Events() {
			if e.Partition == 1 || e.Partition == 3 {
				want[e.Device]++
			}
		}
		if len(want) == 0 || len(want) == len(fleet()) {
			t.Fatalf("the test needs other devices: %v", want)
		}
		f := b.follow(&service.EventsOptions{Partitions: []string{"3", "1"}})
		got := f.collect(t, 2*len(want))
		b.DropConnections()
		<-f.lost
		if diff := cmp.Diff(want, bodies(t, got)); diff != "" {
			t.Error(diff)
		}
		f.end(t)
		err := b.service().Events(hour(t), &service.EventsOptions{Partitions: []string{"1", "4"}}, func(*service.Event) bool { return true })
		if !errors.Is(err, service.ErrPartitionUnknown) || err.Error() != `events: no such partition: "4"; there are 0, 1, 2, 3` {
			t.Errorf("partition 4: %v", err)
		}
	})
}

func TestEventsSurviveDroppedConnections(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		const each = 40
		for _, id := range fleet() {
			d := b.device(id)
			telemetry(t, d, 0, each)
			hangUp(t, d)
		}
		var got []*service.Event
		drops, ready := 0, 0
		o := &service.EventsOptions{Ready: func(int) { ready++ }}
		err := b.service().Events(hour(t), o, func(e *service.Event) bool {
			got = append(got, e)
			if len(got)%37 == 0 {
				drops += b.DropConnections()
			}
			return len(got) < len(fleet())*each
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(counts(each), bodies(t, got)); diff != "" {
			t.Error(diff)
		}
		// Some drops meet nobody, because what had been fetched is still being handed out, and some come before the last partition is attached.
		if drops < 2 || ready < 2 {
			t.Errorf("%d connections dropped, ready %d times", drops, ready)
		}
	})
}

// What comes while nobody is connected must not be skipped by "latest".
func TestLatestMissesNothingWhileTheConnectionIsAway(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		telemetry(t, b.device("pi-1"), 0, 3)
		f := b.follow(&service.EventsOptions{From: service.From{Latest: true}})
		for round := range 5 {
			b.RefuseConnections(true)
			b.DropConnections()
			<-f.lost
			b.RefuseConnections(false)
			for _, id := range fleet() {
				from := 10 * round
				if id == "pi-1" {
					from += 3
				}
				d := b.device(id)
				telemetry(t, d, from, from+10)
				hangUp(t, d)
			}
		}
		got := f.collect(t, 50*len(fleet()))
		next := map[string]int{"pi-1": 3}
		for _, e := range got {
			if string(e.Body) != fmt.Sprint(next[e.Device]) {
				t.Errorf("%s: got %s, want %d", e.Device, e.Body, next[e.Device])
			}
			next[e.Device]++
		}
		f.end(t)
	})
}

func TestALostPartitionIsFollowedAgain(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		d := b.device("pi-17")
		f := b.follow(&service.EventsOptions{})
		telemetry(t, d, 0, 5)
		got := f.collect(t, 5)
		n := b.DetachLinks("iothub-ehub-localhost/ConsumerGroups/$Default/Partitions/"+got[0].Partition, "amqp:link:detach-forced", "moving")
		if n != 1 {
			t.Fatalf("%d links detached", n)
		}
		if err := <-f.lost; !strings.Contains(err.Error(), "events of partition "+got[0].Partition+": amqp:link:detach-forced: moving") {
			t.Errorf("lost: %v", err)
		}
		telemetry(t, d, 5, 10)
		got = append(got, f.collect(t, 5)...)
		if diff := cmp.Diff(map[string]int{"pi-17": 10}, bodies(t, got)); diff != "" {
			t.Error(diff)
		}
		f.end(t)
	})
}

func TestEventsRefused(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		none := func(*service.Event) bool { t.Error("an event"); return false }
		wrong := b.policy("service")
		wrong.Key = b.policy("iothubowner").Key
		err := b.client(wrong).Events(hour(t), nil, none)
		if !errors.Is(err, service.ErrUnauthorized) || strings.Contains(err.Error(), wrong.Key.Text()) {
			t.Errorf("wrong key: %v", err)
		}
		if err := b.client(b.policy("device")).Events(hour(t), nil, none); !errors.Is(err, service.ErrUnauthorized) {
			t.Errorf("without the right: %v", err)
		}
		b.RefuseNextAttach("iothub-ehub-localhost/ConsumerGroups/none/Partitions/0", "amqp:not-found", "no such consumer group")
		err = b.service().Events(hour(t), &service.EventsOptions{ConsumerGroup: "none"}, none)
		if !errors.Is(err, service.ErrNotFound) || !strings.Contains(err.Error(), "no such consumer group") {
			t.Errorf("unknown consumer group: %v", err)
		}
	})
}

// A hub that is away is waited for, ever longer, and Events ends when its caller says so.
func TestEventsWaitForTheHub(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.RefuseConnections(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		tries := 0
		var longest time.Duration
		o := &service.EventsOptions{Lost: func(_ error, retry time.Duration) { tries++; longest = max(longest, retry) }}
		if err := b.service().Events(ctx, o, func(*service.Event) bool { return true }); err != nil {
			t.Error(err)
		}
		if tries < 100 || tries > 1000 || longest > 30*time.Second {
			t.Errorf("%d tries in an hour, waiting %v at most", tries, longest)
		}
	})
}

func TestEventsGoWhereTheRedirectSays(t *testing.T) {
	run(t, &hubsim.Options{Hostname: "my.hub.example"}, func(t *testing.T, b *bed) {
		telemetry(t, b.deviceOf("pi-17", "my.hub.example"), 0, 1)
		cs := b.policy("service")
		cs.HostName = "my.hub.example:15671" // on which the hub redirects to the standard port
		var dialled []string
		c, err := service.New(&service.Options{Connection: cs, Now: wall, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			dialled = append(dialled, addr)
			return b.Dial(ctx)
		}})
		if err != nil {
			t.Fatal(err)
		}
		var got *service.Event
		if err := c.Events(hour(t), nil, func(e *service.Event) bool { got = e; return false }); err != nil {
			t.Fatal(err)
		}
		if got.Device != "pi-17" || string(got.Body) != "0" || got.Sequence != 0 || got.Offset != "0" || got.Enqueued.IsZero() {
			t.Errorf("got %+v", got)
		}
		if diff := cmp.Diff([]string{"my.hub.example:15671", "my.hub.example:5671"}, dialled); diff != "" {
			t.Error(diff)
		}
		if c.Host() != "my.hub.example" {
			t.Error(c.Host())
		}
	})
}

// A hub that says nothing, to a new connection or to one that stands, is noticed.
func TestEventsNoticeASilentHub(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		f := b.follow(&service.EventsOptions{})
		b.BlackHole(true)
		started := time.Now()
		<-f.lost
		if took := time.Since(started); took > 2*time.Minute {
			t.Errorf("a standing connection: noticed after %v", took)
		}
		started = time.Now()
		<-f.lost
		if took := time.Since(started); took > 2*time.Minute {
			t.Errorf("a new connection: noticed after %v", took)
		}
		b.BlackHole(false)
		b.DropConnections()
		telemetry(t, b.device("pi-17"), 0, 3)
		bodies(t, f.collect(t, 3))
		f.end(t)
	})
}
