package agent

import (
	"math"
	"time"

	"iotagent/outbox"
	"iotagent/sensors"
)

// Load is what one sensor gives: a reading of so many bytes each interval, in a lane.
type Load struct {
	Lane     outbox.Lane
	Interval time.Duration
	Bytes    int
}

// ordinaryGap is a time between two readings that is as long to write as most.
const ordinaryGap = 100 * time.Second

// ReadingBytes is how many bytes a reading takes in a message in that format, behind others of its sensor.
func ReadingBytes(f Format, r *sensors.Reading) int {
	b, next := batch{format: f}, *r
	next.At.Wall, next.At.Mono = next.At.Wall.Add(ordinaryGap), next.At.Mono+ordinaryGap
	first := b.append(nil, r)
	return len(b.append(first, &next)) - len(first)
}

// CostADay estimates what these sensors cost of a hub's daily quota when nothing disturbs them: an alarm is a message of its own, and the others share
// one for as long as it has room and may wait.
func CostADay(loads []Load, o PackOptions) Metering {
	o = o.withDefaults()
	var day Metering
	for lane := range outbox.Bulk + 1 {
		day.merge(laneCost(lane, loads, o))
	}
	return day
}

func laneCost(lane outbox.Lane, loads []Load, o PackOptions) *Metering {
	const day = float64(24 * time.Hour)
	var readings, bytes, fastest float64
	for _, l := range loads {
		if l.Lane == lane && l.Interval > 0 {
			n := day / float64(l.Interval)
			readings, bytes, fastest = readings+n, bytes+n*float64(l.Bytes), max(fastest, n)
		}
	}
	if readings == 0 {
		return &Metering{}
	}
	rest := overhead(lane, o.Format)
	messages := readings
	if lane != outbox.Alarm && o.wait() > 0 {
		flushes := min(fastest, day/float64(o.wait()))
		full := bytes / float64(max(o.MaxMessageBytes-rest, 1))
		messages = min(readings, max(flushes, full))
	}
	size := bytes/messages + float64(rest)
	return &Metering{
		Messages: uint64(math.Round(messages)), Bytes: uint64(math.Round(messages * size)),
		Metered: uint64(math.Round(messages * math.Ceil(size/meterUnit))),
	}
}
