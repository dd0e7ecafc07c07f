//go:build powercut

package powercut

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// plan is what all machines share.
type plan struct {
	kernel, initrd, dir string
	accel               []string
	ready               int64 // see ledger
}

// machine is one run of qemu, from the power's coming to its going.
type machine struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	log   string // the console's file
	errs  strings.Builder
	led   *ledger
}

// boot starts a machine with the disk and the environment given to its init; what it says goes to the ledger.
func (p *plan) boot(t *testing.T, disk, cache string, led *ledger, env ...string) *machine {
	t.Helper()
	m := &machine{t: t, lines: make(chan string, 1000), log: filepath.Join(p.dir, "console.log"), led: led}
	if err := os.Remove(m.log); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	args := append([]string{
		"-M", "q35", "-m", "512", "-nodefaults", "-nic", "none", "-display", "none", "-monitor", "none", "-no-reboot",
		"-kernel", p.kernel, "-initrd", p.initrd, "-serial", "file:" + m.log,
		"-append", "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off tsc=reliable no_timer_check " + strings.Join(env, " "),
		"-drive", "format=raw,if=virtio,file=" + disk + ",cache=" + cache,
		"-device", "virtio-serial-pci", "-chardev", "stdio,id=port,signal=off", "-device", "virtserialport,chardev=port,name=powercut",
	}, p.accel...)
	m.cmd = exec.CommandContext(t.Context(), "qemu-system-x86_64", args...)
	m.cmd.Stderr = &m.errs
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // an interrupted test leaves no machine behind
	var err error
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	led.start()
	go func() {
		defer close(m.lines)
		for r := bufio.NewReaderSize(out, 1<<20); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return // a last line without an end was not told in full
			}
			m.lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	return m
}

// until hears the guest until a line begins with word, or for the time given when word is "". It reports whether that line came.
func (m *machine) until(word string, limit time.Duration) bool {
	for after := time.After(limit); ; {
		select {
		case line, ok := <-m.lines:
			if !ok {
				return false
			}
			m.hear(line)
			if kind, _, _ := strings.Cut(line, " "); kind == word {
				return true
			}
		case <-after:
			return false
		}
	}
}

func (m *machine) hear(line string) {
	if answer := m.led.hear(line); answer != "" {
		_, _ = io.WriteString(m.in, answer+"\n") // a guest that is gone needs no answer
	}
}

// cut kills qemu and hears what the guest had said before.
func (m *machine) cut() {
	_ = m.cmd.Process.Kill() // it may have ended by itself, which the lines show
	for line := range m.lines {
		m.hear(line)
	}
	_ = m.in.Close()
	_ = m.cmd.Wait() // "signal: killed"
}

// must is until for what has to come; otherwise the test ends with all there is to see.
func (m *machine) must(word string, limit time.Duration) {
	m.t.Helper()
	if m.until(word, limit) {
		return
	}
	m.cut()
	m.t.Fatalf("the guest did not say %q within %s.\n%s", word, limit, m.story())
}

// story is what there is to see when something went wrong.
func (m *machine) story() string {
	b, err := os.ReadFile(m.log)
	if err != nil {
		b = []byte(err.Error())
	}
	lines := strings.Split(strings.ReplaceAll(strings.TrimSpace(string(b)), "\r", ""), "\n")
	return fmt.Sprintf("ledger: %s\nqemu: %s\nthe end of %s:\n  %s", strings.Join(m.led.bad, "\n        "), strings.TrimSpace(m.errs.String()), m.log,
		strings.Join(lines[max(0, len(lines)-40):], "\n  "))
}
