package hubsim

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// logOf has events 0…9 of 100 bytes each, a second apart from the epoch on, of which the first two are gone.
func logOf() *partition {
	p := &partition{}
	for i := range 10 {
		p.append(&Event{Enqueued: EventTime{time.Unix(int64(i), 0)}}, 100, 8)
	}
	return p
}

func TestSelectorsFindTheirPlace(t *testing.T) {
	p := logOf()
	for text, want := range map[string]int64{
		"amqp.annotation.x-opt-sequence-number > 5":    6,
		"amqp.annotation.x-opt-sequence-number >= 5":   5,
		"amqp.annotation.x-opt-sequence-number > '-1'": 2,
		"amqp.annotation.x-opt-sequence-number>0":      2,
		"amqp.annotation.x-opt-sequence-number > 99":   10,
		"amqp.annotation.x-opt-offset > '300'":         4,
		"amqp.annotation.x-opt-offset >= '300'":        3,
		"amqp.annotation.x-opt-offset > '301'":         4,
		"amqp.annotation.x-opt-offset > '-1'":          2,
		"amqp.annotation.x-opt-offset > '@latest'":     10,
		"amqp.annotation.x-opt-enqueued-time > 4000":   5,
		"amqp.annotation.x-opt-enqueued-time >= 4000":  4,
		"amqp.annotation.x-opt-enqueuedtimeutc > 3999": 4,
		"amqp.annotation.x-opt-enqueued-time > '1000'": 2,

		"amqp.annotation.x-opt-sequence-number < 5":           -1,
		"amqp.annotation.x-opt-sequence-number > 5 AND 1 > 0": -1,
		"amqp.annotation.x-opt-publisher > 5":                 -1,
		"amqp.annotation.x-opt-sequence-number > 5x":          -1,
		"": -1,
	} {
		match, err := parseSelector(text)
		if want < 0 {
			if err == nil {
				t.Errorf("%q: want an error", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := p.from(match); got != want {
			t.Errorf("%q: starts at %d, want %d", text, got, want)
		}
	}
}

func TestRetentionKeepsTheNewest(t *testing.T) {
	p := logOf()
	var got []int64
	for seq := int64(0); ; {
		e := p.at(seq)
		if e == nil {
			break
		}
		got = append(got, e.Sequence)
		seq = e.Sequence + 1
	}
	if diff := cmp.Diff([]int64{2, 3, 4, 5, 6, 7, 8, 9}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPartitionOfIsStableAndSpread(t *testing.T) {
	used := map[int]bool{}
	for i := range 100 {
		id := fmt.Sprint("device-", i)
		n := partitionOf(id, 4)
		if n != partitionOf(id, 4) || n < 0 || n > 3 {
			t.Fatalf("%s: partition %d", id, n)
		}
		used[n] = true
	}
	if len(used) != 4 {
		t.Errorf("100 devices use %d of 4 partitions", len(used))
	}
}

func FuzzParseSelector(f *testing.F) {
	f.Add("amqp.annotation.x-opt-offset > '4096'")
	f.Add("amqp.annotation.x-opt-sequence-number >= 5")
	f.Fuzz(func(_ *testing.T, s string) {
		if match, err := parseSelector(s); err == nil {
			logOf().from(match)
		}
	})
}
