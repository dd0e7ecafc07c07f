//go:build powercut

package powercut

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// These tests need a kernel and an initramfs: test/vm/powercut.sh makes them and runs the tests.

// How long the guest may take at most. Without KVM a second of the guest's takes several of the machine's.
const (
	bootLimit = 90 * time.Second
	listLimit = 90 * time.Second
	workLimit = 60 * time.Second
)

func caches() []string { return []string{"writethrough", "none", "writeback"} }

// kinds are what the rounds do in turn. The agent has a disk of its own, so that its fsyncs write nothing for the others.
func kinds() []string { return []string{"drain", "agent", "staged", "quota"} }

func setting(t *testing.T, name string) string {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		t.Fatalf("%s is not set: run test/vm/powercut.sh", name)
	}
	return s
}

func newPlan(t *testing.T) *plan {
	t.Helper()
	p := &plan{kernel: setting(t, "POWERCUT_KERNEL"), initrd: setting(t, "POWERCUT_INITRD"), dir: setting(t, "POWERCUT_DIR")}
	p.accel, p.ready = []string{"-smp", "2", "-cpu", "host", "-accel", "kvm"}, readyKVM
	if why := p.tryKVM(t); why != "" {
		t.Logf("without KVM (%s), so slowly", why)
		// One processor: with two, qemu 7.2 now and then lets a kernel die of an int3 that it is just patching in or out.
		p.accel, p.ready = []string{"-smp", "1", "-cpu", "max", "-accel", "tcg"}, readyTCG
	}
	return p
}

// tryKVM boots a machine once, for a /dev/kvm that can be opened may be of no use yet.
func (p *plan) tryKVM(t *testing.T) (why string) {
	t.Helper()
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err.Error()
	}
	_ = f.Close() // it was opened for the error alone
	m := p.boot(t, p.disk(t, "kvm"), "writeback", newLedger(p.ready), "PC_MODE=none")
	up := m.until("mounted", 20*time.Second)
	m.cut()
	if up {
		return ""
	}
	why, _, _ = strings.Cut("a machine with it does not start: "+m.errs.String(), "\n")
	return why
}

// disk makes an empty file system.
func (p *plan) disk(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(p.dir, name+".img")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", path, "256M").CombinedOutput()
	if err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	return path
}

// disks are the states of the two gateways.
type disks struct {
	image map[string]string
	led   map[string]*ledger
}

func diskOf(kind string) string {
	if kind == "agent" {
		return "agent"
	}
	return "outbox"
}

func TestPowerCuts(t *testing.T) {
	rounds, err := strconv.Atoi(setting(t, "ROUNDS"))
	if err != nil || rounds < 1 {
		t.Fatalf("ROUNDS: %v", err)
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	t.Logf("SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	p := newPlan(t)
	tab := newTable()
	t.Cleanup(tab.print)
	control(t, p, r, tab)

	d := disks{image: map[string]string{}, led: map[string]*ledger{}}
	for _, name := range []string{"outbox", "agent"} {
		d.image[name], d.led[name] = p.disk(t, name), newLedger(p.ready)
	}
	for n := range rounds {
		kind, cache := kinds()[n%len(kinds())], caches()[r.IntN(3)]
		round(t, p, r, &d, n+1, kind, cache, tab)
	}
	for name, led := range d.led {
		if rounds == 1 && name == "agent" {
			continue
		}
		kind := map[string]string{"outbox": "look", "agent": "agent-look"}[name]
		m := p.boot(t, d.image[name], "writeback", led, "PC_MODE="+kind, "PC_BOOT=0")
		m.must("listed", bootLimit+listLimit)
		m.cut()
		tab.end(name, led)
		verdict(t, m, "at the end")
	}
}

// round boots a machine, has what the last cut left looked at, lets it work and cuts it off: mostly at work, now and then while it looks.
func round(t *testing.T, p *plan, r *rand.Rand, d *disks, n int, kind, cache string, tab *table) {
	t.Helper()
	led := d.led[diskOf(kind)]
	before := led.sums
	m := p.boot(t, d.image[diskOf(kind)], cache, led, "PC_MODE="+kind, "PC_BOOT="+strconv.Itoa(n))
	m.must("mounted", bootLimit)
	var after time.Duration
	where := "at work"
	if turn, i := (n-1)/len(kinds()), (n-1)%len(kinds()); (turn+i)%5 == 4 { // a fifth of each kind
		where, after = "at the start", time.Duration(r.IntN(1500))*time.Millisecond
	} else {
		m.must("listed", listLimit)
		m.must("work", workLimit)
		if kind == "agent" {
			m.must("sent", workLimit)
		}
		after = time.Duration(300+r.IntN(4000)) * time.Millisecond
	}
	m.until("", after)
	m.cut()
	t.Logf("round %d: %s, cache=%s, cut %s after %s: %d confirmed, %d found", n, kind, cache, where, after.Round(time.Millisecond),
		led.sums.confirmed-before.confirmed, led.sums.found-before.found)
	tab.round(kind, led)
	verdict(t, m, fmt.Sprintf("round %d", n))
}

// verdict ends the test at the first thing that is wrong, with the disk as it is.
func verdict(t *testing.T, m *machine, when string) {
	t.Helper()
	if len(m.led.bad) > 0 {
		t.Fatalf("%s, the disks are kept in %s.\n%s", when, filepath.Dir(m.log), m.story())
	}
}

// control is one round of the same program with every fsync made to do nothing. It must lose, or the other rounds prove nothing.
func control(t *testing.T, p *plan, r *rand.Rand, tab *table) {
	t.Helper()
	led := newLedger(p.ready)
	disk := p.disk(t, "control")
	m := p.boot(t, disk, "writethrough", led, "PC_MODE=drain", "PC_BOOT=1", "PC_NOSYNC=1")
	m.must("work", bootLimit+listLimit)
	m.until("", time.Duration(1000+r.IntN(2000))*time.Millisecond)
	m.cut()
	if led.sums.confirmed == 0 || len(led.bad) > 0 {
		t.Fatalf("the control did not work.\n%s", m.story())
	}
	m = p.boot(t, disk, "writethrough", led, "PC_MODE=look", "PC_BOOT=0")
	m.must("mounted", bootLimit)
	if !m.until("listed", listLimit) {
		led.judge() // nothing can be read
	}
	m.cut()
	t.Logf("control: %d confirmed, %d lost", led.sums.confirmed, led.sums.lost)
	tab.control = led.sums
	if led.sums.lost == 0 {
		t.Fatalf("the control lost nothing: a power cut in this machine shows nothing\n%s", m.story())
	}
}
