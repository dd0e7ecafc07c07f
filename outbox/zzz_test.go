package outbox_test
import "testing"
func TestStock(t *testing.T) {
	s := newStock(t)
	for n, b := range s.files { t.Log(n, len(b)/4096) }
	t.Log(len(s.bodies), len(s.queued), s.gaps, len(s.letters), s.active)
}
