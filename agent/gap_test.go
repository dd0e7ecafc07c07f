package agent_test

import (
	"testing"
	"time"

	"iotagent/outbox"
)

// Every reason for a loss, as the hub hears of it.
func TestGapFormats(t *testing.T) {
	for file, gap := range map[string]*outbox.Gap{
		"gap-memory.json":       {Epoch: 0x5eed, Lane: outbox.Bulk, From: 7, To: 7, Messages: 1, Readings: 30, Reason: "memory"},
		"gap-purged.json":       {Epoch: 0x5eed, Lane: outbox.Normal, From: 1, To: 41, Messages: 41, Readings: 574, Reason: "purged"},
		"gap-damage.json":       {Lane: outbox.Normal, Messages: 35, Readings: 490, AtMost: true, Reason: "damage"},
		"gap-damage-blind.json": {Lane: outbox.Normal, AtMost: true, Reason: "damage"},
		"gap-unclean-stop.json": {Epoch: 0xf00d, Lane: outbox.Normal, AtMost: true, Within: 2500 * time.Millisecond, Reason: "unclean-stop"},
	} {
		t.Run(file, func(t *testing.T) { checkFormat(t, file, show(t, entry(gap.Lane, nil, gap))) })
	}
}
