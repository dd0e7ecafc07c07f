package agent

import (
	"sync"
	"time"
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

// uplink is what the sender of telemetry knows beyond one connection. Its methods may be called from any goroutine.
type uplink struct {
	o  UplinkOptions
	mu sync.Mutex
	st UplinkStatus
}

func newUplink(o UplinkOptions) *uplink {
	return &uplink{o: o.withDefaults()}
}

func (u *uplink) set(f func(*UplinkStatus)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(&u.st)
}

// snapshot returns the present status.
func (u *uplink) snapshot() UplinkStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.st
}
