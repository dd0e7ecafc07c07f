package outbox

import (
	"slices"
	"sort"
)

// A place is where an entry stands in its lane: the number of the run of the process, then the sequence number. Places rise for ever, over
// restarts too, and a file that was given up never shares one with another. Until the disk could be read for the first time the run is 0.
const seqBits = 40

func placeOf(run uint32, seq uint64) uint64 { return uint64(run)<<seqBits | seq }

func runOf(place uint64) uint32 { return uint32(place >> seqBits) }

func seqOf(place uint64) uint64 { return place & (1<<seqBits - 1) }

// span is a run of places, both included.
type span struct{ from, to uint64 }

// spans are apart from each other and rise.
type spans []span

func (s spans) has(place uint64) bool {
	_, ok := s.find(place)
	return ok
}

// find returns the span that holds a place.
func (s spans) find(place uint64) (span, bool) {
	i, _ := slices.BinarySearchFunc(s, place, func(x span, p uint64) int {
		if x.to < p {
			return -1
		}
		return 1
	})
	if i < len(s) && s[i].from <= place {
		return s[i], true
	}
	return span{}, false
}

// add joins a span in.
func (s spans) add(n span) spans {
	i := sort.Search(len(s), func(i int) bool { return s[i].to+1 >= n.from })
	j := i
	for j < len(s) && s[j].from <= n.to+1 {
		n.from, n.to = min(n.from, s[j].from), max(n.to, s[j].to)
		j++
	}
	return slices.Replace(s, i, j, n)
}

// before forgets what lies before a place.
func (s spans) before(place uint64) spans {
	for len(s) > 0 && s[0].to < place {
		s = s[1:]
	}
	return s
}
