//go:build powercut

package powercut

import "fmt"

// table is what the test says at the end.
type table struct {
	cuts    map[string]int
	disk    map[string]sums
	control sums
}

func newTable() *table {
	return &table{cuts: map[string]int{}, disk: map[string]sums{}}
}

func (t *table) round(kind string, l *ledger) {
	t.cuts[kind]++
	t.end(diskOf(kind), l)
}

func (t *table) end(disk string, l *ledger) { t.disk[disk] = l.sums }

// print shows the table for docs/outbox.md.
func (t *table) print() {
	fmt.Println("\n| what runs | cuts | confirmed | lost | id twice | declared: quota | within max_loss | again after its ack, at most | worst start |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	row(fmt.Sprintf("outbox (%d drained, %d with max_loss, %d at the quota)", t.cuts["drain"], t.cuts["staged"], t.cuts["quota"]),
		t.cuts["drain"]+t.cuts["staged"]+t.cuts["quota"], t.disk["outbox"])
	row("`iotagent run` and `send`", t.cuts["agent"], t.disk["agent"])
	row("control: fsync does nothing", 1, t.control)
	fmt.Println()
}

func row(name string, cuts int, s sums) {
	fmt.Printf("| %s | %d | %d | %d | %d | %d | %d | %d | %d ms |\n", name, cuts, s.confirmed, s.lost, s.twice, s.declared, s.unwritten, s.again, s.worstReady)
}
