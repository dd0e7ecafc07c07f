package agent

import (
	"sync"
	"time"

	"iotagent/outbox"
)

// UplinkOptions are the settings of the sender of telemetry. The zero value means the defaults.
type UplinkOptions struct {
	// BatchMessages is how many messages of a backlog share one transfer at most; default 128, 1 sends each alone.
	BatchMessages int
}

func (o UplinkOptions) withDefaults() UplinkOptions {
	if o.BatchMessages <= 0 {
		o.BatchMessages = 128
	}
	return o
}

// UplinkStatus is what the sender of telemetry is doing. The counts are since the start.
type UplinkStatus struct {
	// InFlightTransfers, InFlightMessages and InFlightBytes were sent and are not settled; a batch is one transfer of many messages.
	InFlightTransfers int   `json:"in_flight_transfers"`
	InFlightMessages  int   `json:"in_flight_messages"`
	InFlightBytes     int64 `json:"in_flight_bytes"`
	// WindowTransfers and WindowBytes are how much may be in flight now: less than the most at the beginning and where the hub settles slowly.
	WindowTransfers int   `json:"window_transfers"`
	WindowBytes     int64 `json:"window_bytes"`
	// RatePerSecond is how many messages a second are sent at most since the hub asked for fewer; 0 when there is no limit.
	RatePerSecond float64 `json:"rate_per_second,omitempty"`
	// PausedUntil is set while the hub asked for none; Pause is the class of the error that it asked with.
	PausedUntil *time.Time `json:"paused_until,omitempty"`
	Pause       string     `json:"pause,omitempty"`
	// SettleMillis is how long the hub takes to settle a transfer, lately.
	SettleMillis float64 `json:"settle_ms"`
	// Transfers were sent; Batches of them held BatchedMessages. SplitBatches were refused as a whole and sent again in halves.
	Transfers       uint64 `json:"transfers"`
	Batches         uint64 `json:"batches"`
	BatchedMessages uint64 `json:"batched_messages"`
	SplitBatches    uint64 `json:"split_batches"`
	// Accepted messages are done. Refused ones came back because the hub was busy or for a reason nobody knows, Returned ones without a complaint, Lost ones
	// went out on a link that ended before the hub's word; all of these are sent again. Dead ones lie with the dead letters.
	Accepted uint64 `json:"accepted_messages"`
	Refused  uint64 `json:"refused_messages"`
	Returned uint64 `json:"returned_messages"`
	Lost     uint64 `json:"lost_messages"`
	Dead     uint64 `json:"dead_messages"`
}

// uplink is what the sender of telemetry knows: what is in flight, how much may be, how fast, and what was refused. Its methods may be called from
// any goroutine; the sender decides with them and the settler tells them what came of it.
type uplink struct {
	o UplinkOptions
	// room is signalled when something may go that had to wait.
	room chan struct{}

	mu     sync.Mutex
	st     UplinkStatus // the counts
	flight flight       // of this connection
	rate   rate
	pace   pace
	doubts doubts
	// alarms were taken from the outbox and are not settled.
	alarms uint64
	// need is what the sender waits for room for; nil when it does not.
	need *need
}

func newUplink(o UplinkOptions) *uplink {
	return &uplink{o: o.withDefaults(), room: make(chan struct{}, 1), flight: newFlight(), doubts: newDoubts()}
}

// need is the room that is waited for: size 0 is whatever is worth taking something from the outbox for.
type need struct {
	size  int64
	alarm bool
}

// begin makes the window small again, for a new connection.
func (u *uplink) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.flight = newFlight()
}

// order is how much to take from the outbox.
type order struct {
	entries int
	bytes   int64
	// batch and portion bound each batch.
	batch   int
	portion int64
}

// wanted returns how much may be taken from the outbox now, entries 0 when nothing: then wait says how long, 0 that it depends on the room.
func (u *uplink) wanted(now time.Time) (o order, wait time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if wait = max(u.pace.wait(now, false), u.rate.wait(now)); wait > 0 {
		return o, wait
	}
	transfers, bytes := u.flight.room()
	if transfers == 0 {
		u.need = &need{}
		return o, 0
	}
	o = order{entries: min(transfers, singles, u.rate.portion()), bytes: min(bytes, batchBytes), batch: min(u.o.BatchMessages, u.rate.portion()), portion: u.flight.portion()}
	if o.batch > 1 {
		o.entries, o.bytes = o.batch, min(bytes, o.portion*2/3) // encoded they are larger
	}
	return o, 0
}

// enter counts a parcel that is about to be sent, or says that it may not be: then wait is as with wanted.
func (u *uplink) enter(now time.Time, p *parcel) (ok bool, wait time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	wait = u.pace.wait(now, p.alarm)
	if !p.alarm {
		wait = max(wait, u.rate.wait(now))
	}
	if wait > 0 {
		return false, wait
	}
	if !u.flight.fits(p.alarm, p.bytes) {
		u.need = &need{p.bytes, p.alarm}
		return false, 0
	}
	u.rate.spend(len(p.items))
	u.flight.enter(len(p.items), p.bytes)
	return true, 0
}

// unsent takes back an enter.
func (u *uplink) unsent(p *parcel) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.rate.spend(-len(p.items))
	u.leave(p)
}

func (u *uplink) sent(p *parcel) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.st.Transfers++
	if n := len(p.items); n > 1 {
		u.st.Batches++
		u.st.BatchedMessages += uint64(n)
	}
}

func (u *uplink) leave(p *parcel) {
	u.flight.leave(len(p.items), p.bytes)
	if n := u.need; n != nil && u.roomFor(n) {
		u.need = nil
		u.kick()
	}
}

func (u *uplink) roomFor(n *need) bool {
	if n.size > 0 {
		return u.flight.fits(n.alarm, n.size)
	}
	transfers, _ := u.flight.room()
	return transfers > 0
}

// landed reports whether nothing is in flight; when it is false, room is signalled when that is so.
func (u *uplink) landed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.flight.transfers > 0 {
		u.need = &need{size: 2 * windowBytes} // what fits in alone only
		return false
	}
	return true
}

// kick has the sender look again.
func (u *uplink) kick() {
	select {
	case u.room <- struct{}{}:
	default:
	}
}

// taken counts the alarms among entries of the outbox; given takes them off again when they were settled or released.
func (u *uplink) taken(es []outbox.Entry) {
	n := uint64(0)
	for i := range es {
		if es[i].ID.Lane == outbox.Alarm {
			n++
		}
	}
	if n > 0 {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.alarms += n
	}
}

func (u *uplink) given(ids []outbox.ID) {
	n := uint64(0)
	for _, id := range ids {
		if id.Lane == outbox.Alarm {
			n++
		}
	}
	if n > 0 {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.alarms -= n
		u.kick()
	}
}

// untaken reports whether some of the alarms that wait in the outbox were not taken.
func (u *uplink) untaken(queued uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return queued > u.alarms
}

// groupOf is doubts.groupOf.
func (u *uplink) groupOf(id outbox.ID) uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.doubts.groupOf(id)
}

// due is doubts.due.
func (u *uplink) due(now time.Time, most time.Duration) (ids []outbox.ID, next time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.doubts.due(now, most)
}

// snapshot returns the present status.
func (u *uplink) snapshot() UplinkStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, f := u.st, &u.flight
	s.InFlightTransfers, s.InFlightMessages, s.InFlightBytes = f.transfers, f.messages, f.bytes
	s.WindowTransfers, s.WindowBytes = f.limit(true)
	s.SettleMillis = float64(f.settle.Microseconds()) / 1000
	s.RatePerSecond = u.rate.limit
	if r := u.pace.of(false); time.Now().Before(r.until) {
		until := r.until
		s.PausedUntil, s.Pause = &until, string(r.class)
	}
	return s
}
