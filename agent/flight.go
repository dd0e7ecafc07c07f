package agent

import "time"

const (
	// windowTransfers and windowBytes bound what is in flight: nearly the credit that the hub gives, which fills a link of 50 ms round trip, and little
	// enough for 512 MB boards.
	windowTransfers = 1000
	windowBytes     = 1 << 20
	// leastTransfers and leastBytes are what may always be in flight.
	leastTransfers = 8
	leastBytes     = 8 << 10
	// firstShare is the part of the window that a new connection begins with; it doubles with each round trip.
	firstShare = 1.0 / 16
	leastShare = 1.0 / 128
	// slowSettle is from when on the hub, or the line to it, counts as slow, unless it was never fast.
	slowSettle = time.Second
)

// flight is what was sent and is not settled, and its bound, the window. That begins small and grows with what the hub accepts; where settlements become
// slow, because the hub shapes the traffic or because the line is full, it shrinks until they are not. So what is in flight is settled long before anybody
// takes the link for dead.
type flight struct {
	// share of the greatest window is in use; from careful on it grows slowly.
	share, careful float64

	transfers, messages int
	bytes               int64

	// settle is how long settlements take lately, best the least; shrunk is when the window shrank last.
	settle, best time.Duration
	shrunk       time.Time
}

func newFlight() flight { return flight{share: firstShare, careful: 1} }

// limit returns how much may be in flight. What is no alarm leaves room for those.
func (f *flight) limit(alarm bool) (transfers int, bytes int64) {
	transfers = max(int(f.share*windowTransfers), leastTransfers)
	bytes = max(int64(f.share*windowBytes), leastBytes)
	if !alarm {
		transfers -= max(transfers/16, 1)
		bytes -= bytes / 4
	}
	return transfers, bytes
}

// fits reports whether a transfer may go now. One that is larger than the window goes alone.
func (f *flight) fits(alarm bool, size int64) bool {
	transfers, bytes := f.limit(alarm)
	return f.transfers == 0 || f.transfers < transfers && f.bytes+size <= bytes
}

// room returns how many transfers and bytes are worth taking from the outbox now, 0 when it is better to wait until there is more room.
func (f *flight) room() (transfers int, bytes int64) {
	transfers, bytes = f.limit(false)
	some := f.transfers <= transfers-min(transfers/32, 16)-1 && f.bytes <= bytes-bytes/16
	if f.transfers > 0 && !some {
		return 0, 0
	}
	return max(transfers-f.transfers, 1), max(bytes-f.bytes, 1)
}

// portion is how large a batch may be: small in a small window, so that one settlement never stands for most of it.
func (f *flight) portion() int64 {
	_, bytes := f.limit(false)
	return min(bytes/12, batchBytes)
}

func (f *flight) enter(messages int, size int64) {
	f.transfers++
	f.messages += messages
	f.bytes += size
}

func (f *flight) leave(messages int, size int64) {
	f.transfers--
	f.messages -= messages
	f.bytes -= size
}

// grow makes the window larger for a transfer that was accepted: twice as large after all of it was, an eighth where it was too large before.
func (f *flight) grow(size int64) {
	step := max(1.0/windowTransfers, float64(size)/windowBytes)
	if f.share >= f.careful {
		step /= 8
	}
	f.share = min(f.share+step, 1)
}

// settled takes note of how long the hub took for a transfer sent at that time, and shrinks the window when that has become too long. It reports whether
// it did.
func (f *flight) settled(sent, now time.Time) bool {
	if sent.Before(f.shrunk) {
		return false // it stood in the old, larger queue
	}
	took := now.Sub(sent)
	if f.settle == 0 {
		f.settle = took
	}
	f.settle += (took - f.settle) / 8
	if f.best == 0 || took < f.best {
		f.best = took
	}
	if f.settle <= max(4*f.best, slowSettle) {
		return false
	}
	if f.share <= leastShare { // it cannot be for us: this is how long it takes here
		f.best = f.settle
		return false
	}
	f.shrink(now, f.share/2)
	return true
}

// shrink makes the window at most that share of the greatest.
func (f *flight) shrink(now time.Time, share float64) {
	f.share = max(min(f.share, share), leastShare)
	f.careful = f.share
	f.shrunk, f.settle = now, 0
}
