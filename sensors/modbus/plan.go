package modbus

import (
	"cmp"
	"slices"
)

// block is a request with the registers whose values are in its answer.
type block struct {
	query
	members []member
}

// member is a register, by its place in the configuration, and where it is in the block.
type member struct{ index, offset int }

// plan gathers the registers into as few requests as batch and gap allow.
func plan(registers []Register, base *int, batch, gap int) []block {
	functions := map[string]byte{"coil": readCoils, "discrete": readDiscrete, "holding": readHolding, "input": readInput}
	order := make([]int, len(registers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := &registers[i], &registers[j]
		return cmp.Or(cmp.Compare(functions[a.Table], functions[b.Table]), cmp.Compare(a.first(base), b.first(base)))
	})
	var blocks []block
	for _, i := range order {
		r := &registers[i]
		function, first, most := functions[r.Table], r.first(base), batch
		if r.isBit() {
			most = min(batch*16, maxBits)
		}
		if n := len(blocks); n > 0 {
			b := &blocks[n-1]
			end := b.address + b.count
			grown := max(b.count, first+r.count()-b.address)
			if b.function == function && first-end <= gap && grown <= most {
				b.count = grown
				b.members = append(b.members, member{i, first - b.address})
				continue
			}
		}
		blocks = append(blocks, block{query{function, first, r.count()}, []member{{i, 0}}})
	}
	return blocks
}
