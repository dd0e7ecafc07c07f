package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/hubsim"
	"iotagent/outbox"
)

// First transmissions keep the order of each lane, whether they go in batches or alone, and over cut connections.
func TestOrderOfEachLaneOverBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		want := map[outbox.Lane][]string{}
		for n := range 60 {
			for _, lane := range []outbox.Lane{outbox.Bulk, outbox.Normal} {
				want[lane] = append(want[lane], b.putIn(lane, n, 10*n)...)
			}
		}
		a, stop := b.run()
		for i := range 20 {
			want[outbox.Alarm] = append(want[outbox.Alarm], b.putIn(outbox.Alarm, 1, 50)...)
			b.until(time.Minute, "progress", func() bool { return b.hub.Accepted() >= 100*i })
			if i%5 == 4 {
				b.hub.DropConnections()
			}
		}
		all := slices.Concat(want[outbox.Alarm], want[outbox.Normal], want[outbox.Bulk])
		b.until(time.Minute, "everything", func() bool { got, _ := b.received(); return len(got) == len(all) })
		if err := stop(); err != nil {
			t.Error(err)
		}
		got, _ := b.received()
		for lane, ids := range want {
			var arrived []string
			for _, id := range got {
				if strings.Contains(id, "-"+lane.String()+"-") {
					arrived = append(arrived, id)
				}
			}
			if !slices.Equal(arrived, ids) {
				t.Errorf("lane %s: %d messages did not arrive in order", lane, len(ids))
			}
		}
		if u := a.Status().Link.Uplink; u.Batches == 0 || u.Transfers == u.Batches {
			t.Errorf("uplink %+v: no batches, or no singles", u)
		}
	})
}

// Alarms that do not fit the small window of a new connection, beside a backlog, keep their order.
func TestOrderOfAlarmsInASmallWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.hub.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Delay: 100 * time.Millisecond} })
		backlog := b.putIn(outbox.Normal, 300, 3000)
		_, stop := b.run()
		b.until(time.Minute, "the first", func() bool { return b.hub.Accepted() > 0 })
		var alarms []string
		for range 40 {
			alarms = append(alarms, b.putIn(outbox.Alarm, 3, 3000)...)
			time.Sleep(10 * time.Millisecond) // virtual
		}
		b.until(time.Minute, "everything", func() bool { return b.hub.Accepted() == len(alarms)+len(backlog) })
		if err := stop(); err != nil {
			t.Error(err)
		}
		got, _ := b.received()
		got = slices.DeleteFunc(got, func(id string) bool { return strings.Contains(id, "-normal-") })
		if !slices.Equal(got, alarms) {
			t.Errorf("alarms arrived as %v", got)
		}
	})
}

// place returns where a message stands among all that arrived, -1 when it did not.
func (b *bed) place(id string) int {
	return slices.IndexFunc(b.hub.Events(), func(e *hubsim.Event) bool { return e.MessageID == id })
}

// An alarm waits for what is in flight and for the parcel in hand, not for the backlog, even where the hub is slow and the window is full.
func TestAlarmOvertakesABacklog(t *testing.T) {
	for _, batch := range []int{0, 1} {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t)
				b.o.Uplink.BatchMessages = batch
				b.hub.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Delay: 200 * time.Millisecond} })
				b.putIn(outbox.Normal, 6000, 50)
				a, stop := b.run()
				b.until(time.Minute, "the window to open", func() bool { return b.hub.Accepted() > 1500 })
				synctest.Wait()
				before, u := b.hub.Accepted(), a.Status().Link.Uplink
				alarm := b.putIn(outbox.Alarm, 1, 50)
				synctest.Wait() // it goes at once: room is kept
				if at := b.place(alarm[0]); at < 0 || at > before+128 {
					t.Errorf("the alarm is message %d at the hub; %d were there when it was put, %+v", at, before, u)
				}
				if u.InFlightTransfers < 2 {
					t.Errorf("nothing in its way: %+v", u)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A throttled sender rests; alarms go at once all the same, unless the quota is used up.
func TestAlarmWhileTheSenderRests(t *testing.T) {
	for condition, goes := range map[string]bool{"com.microsoft:device-container-throttled": true, "amqp:resource-limit-exceeded": false} {
		t.Run(condition, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t)
				ids := b.putIn(outbox.Normal, 1000, 50)
				b.poison(condition, ids)
				a, stop := b.run()
				time.Sleep(5 * time.Second) // virtual
				synctest.Wait()
				u := a.Status().Link.Uplink
				if u.PausedUntil == nil || u.Pause == "" {
					t.Errorf("no pause: %+v", u)
				}
				alarm := b.putIn(outbox.Alarm, 3, 50)
				synctest.Wait()
				if got := b.place(alarm[2]) >= 0; got != goes {
					t.Errorf("the alarm went: %v, want %v", got, goes)
				}
				if u.Dead != 0 || u.SplitBatches != 0 {
					t.Errorf("uplink %+v", u)
				}
				b.hub.OnMessages(nil)
				b.until(10*time.Minute, "everything", func() bool { return b.hub.Accepted() == len(ids)+3 })
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Alarms that are refused themselves are not sent again at once.
func TestRefusedAlarmsRestToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		sends := 0
		ids := b.putIn(outbox.Alarm, 1, 50)
		b.hub.OnMessages(func(string, []string) hubsim.Verdict {
			sends++
			return hubsim.Verdict{Outcome: hubsim.Reject, Condition: "com.microsoft:device-container-throttled"}
		})
		_, stop := b.run()
		time.Sleep(5 * time.Minute) // virtual
		synctest.Wait()
		if sends < 10 || sends > 100 {
			t.Errorf("an alarm was sent %d times in five minutes of throttling", sends)
		}
		b.hub.OnMessages(nil)
		b.until(31*time.Second, "the alarm", func() bool { return b.place(ids[0]) >= 0 })
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A hub that takes its time instead of refusing gets less at a time: nothing waits for long, the link is not taken for dead, and the hub is used all the same.
func TestSlowReceiptsSlowTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.o.Uplink.BatchMessages = 1
		b.hub.SetThrottle(&hubsim.Throttle{Rate: 10, Patience: time.Hour})
		b.putIn(outbox.Normal, 3000, 50)
		a, stop := b.run()
		time.Sleep(3 * time.Minute) // virtual
		synctest.Wait()
		u := a.Status().Link.Uplink
		if u.InFlightTransfers > 30 {
			t.Errorf("%d transfers in flight at a hub that settles ten a second", u.InFlightTransfers)
		}
		if u.Accepted < 170*10 {
			t.Errorf("%d messages in three minutes of ten a second", u.Accepted)
		}
		if n := b.dials.Load(); n != 1 || u.Lost != 0 {
			t.Errorf("%d connections, %d messages lost", n, u.Lost)
		}
		b.hub.SetThrottle(nil)
		b.until(time.Minute, "the rest", func() bool { return b.hub.Accepted() == 3000 })
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What is in flight is bounded in transfers and bytes, whatever waits and however wide the window has become.
func TestWindowIsBounded(t *testing.T) {
	tests := []struct {
		name              string
		batch, size, n    int
		transfers, atHand int
	}{
		{"small ones alone", 1, 50, 5000, 1000, 16},
		{"small ones in batches", 0, 50, 20_000, 1000, 128},
		{"large ones", 0, 50_000, 300, 1000, 16},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t)
				b.o.Uplink.BatchMessages = tt.batch
				var deaf atomic.Bool
				unsettled := 0
				b.hub.OnTelemetry(func(string, int) hubsim.Verdict {
					if !deaf.Load() {
						return hubsim.Verdict{Delay: 50 * time.Millisecond}
					}
					unsettled++
					return hubsim.Verdict{Outcome: hubsim.Lose}
				})
				b.putIn(outbox.Normal, tt.n, tt.size)
				a, stop := b.run()
				b.until(time.Minute, "the window to open", func() bool { return b.hub.Accepted() >= tt.n/2 })
				deaf.Store(true)
				time.Sleep(10 * time.Second) // virtual
				synctest.Wait()
				u := a.Status().Link.Uplink
				if unsettled != u.InFlightTransfers || unsettled == 0 || unsettled > tt.transfers || u.InFlightBytes > 1<<20 {
					t.Errorf("%d transfers unsettled, %+v", unsettled, u)
				}
				if kept := b.queue.Stats().InFlight; kept > u.InFlightMessages+tt.atHand || u.InFlightMessages == 0 {
					t.Errorf("%d entries taken from the outbox, %d in flight", kept, u.InFlightMessages)
				}
				if u.WindowTransfers != 1000 && tt.size < 1000 {
					t.Errorf("the window has not opened: %+v", u)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
