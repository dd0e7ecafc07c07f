package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// unit is a program that is started again whenever it ends, as a service manager does it.
type unit struct {
	path string
	// args makes the arguments of the nth run, from 1.
	args func(nth int) []string
	log  *os.File
	// rest is how long it stays down before it is started again.
	rest time.Duration
	// ended hears of every end; wanted says that it was our doing.
	ended func(state *os.ProcessState, wanted bool)

	mu     sync.Mutex
	cmd    *exec.Cmd
	runs   int
	wanted bool          // its end is our doing
	down   chan struct{} // open while it is to stay down
	stop   chan struct{}
	loop   sync.WaitGroup
	gone   chan struct{} // closed at the end of the present process
}

// start starts the program, and keeps it running until finish.
func (u *unit) start() error {
	u.stop = make(chan struct{})
	if err := u.launch(); err != nil {
		return err
	}
	u.loop.Go(func() {
		for u.again() {
			if err := u.launch(); err != nil {
				fmt.Println(err)
				return
			}
		}
	})
	return nil
}

func (u *unit) launch() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.runs++
	cmd := exec.CommandContext(context.Background(), u.path, u.args(u.runs)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "TMPDIR=" + os.TempDir()}
	cmd.Stdout, cmd.Stderr = u.log, u.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	u.cmd, u.wanted, u.gone = cmd, false, make(chan struct{})
	return nil
}

// again waits for the end of the process and for the time to start it anew; false when that does not come.
func (u *unit) again() bool {
	_ = u.cmd.Wait() // ProcessState says how it ended
	u.mu.Lock()
	wanted, down := u.wanted, u.down
	close(u.gone)
	u.mu.Unlock()
	u.ended(u.cmd.ProcessState, wanted)
	if down == nil {
		down = make(chan struct{})
		time.AfterFunc(u.rest, func() { close(down) })
	}
	select {
	case <-down:
	case <-u.stop:
	}
	select {
	case <-u.stop: // both may have come
		return false
	default:
		return true
	}
}

// pid is the present process, or the last one.
func (u *unit) pid() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cmd.Process.Pid
}

// signal sends a signal.
func (u *unit) signal(s syscall.Signal) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return ignoreDone(u.cmd.Process.Signal(s))
}

func ignoreDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// end ends the process by a signal and returns when it is gone; it is started again after the rest or, when it is to stay down, at up.
func (u *unit) end(s syscall.Signal, stay bool) error {
	u.mu.Lock()
	u.wanted = true
	if u.down = nil; stay {
		u.down = make(chan struct{})
	}
	err := ignoreDone(u.cmd.Process.Signal(s))
	gone := u.gone
	u.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-gone:
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("%s does not end after %v", u.path, s)
	}
}

// up starts what end left down.
func (u *unit) up() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.down)
	u.down = nil
}

// finish ends the process for good.
func (u *unit) finish(s syscall.Signal) error {
	select {
	case <-u.stop:
		return nil
	default:
		close(u.stop)
	}
	err := u.end(s, false)
	if err != nil {
		err = errors.Join(err, u.end(syscall.SIGKILL, false))
	}
	u.loop.Wait()
	return err
}

// finishNow kills what is left of a run.
func (u *unit) finishNow() error {
	if u.stop == nil {
		return nil // never started
	}
	return u.finish(syscall.SIGKILL)
}
