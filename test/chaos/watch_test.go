package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"iotagent/internal/simctl"
)

// view is what the agent said of itself.
type view struct {
	at       time.Time // when it was asked
	pid      int
	err      error
	online   bool
	connects uint64
	losses   uint64
	epoch    string
	put      map[string]uint64
	queued   uint64
	oldest   time.Time // of all that waits; zero when nothing does
	text     string
}

// watch has the last words of both sides.
type watch struct {
	mu      sync.Mutex
	last    view
	recent  []string // the last words that differed, for a post mortem
	epochs  map[int]string
	linksAt time.Time
	links   int // of the device, at the hub
	memory  []sample
}

// sample is the size of a process at a time.
type sample struct {
	at               time.Time
	pid              int
	anonKB, fds, thr int
}

func (w *watch) agent() view {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// epoch is that of a process, "" when it was never heard of.
func (w *watch) epoch(pid int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.epochs[pid]
}

func (w *watch) atHub() (links int, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.links, w.linksAt
}

func (w *watch) heard(v view) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.epochs == nil {
		w.epochs = map[int]string{}
	}
	if v.err == nil {
		w.epochs[v.pid] = v.epoch
	}
	w.last = v
	text := v.text
	if v.err != nil {
		text = v.err.Error()
	}
	w.recent = append(w.recent, clock(v.at)+" "+text)
	if len(w.recent) > 30 {
		w.recent = w.recent[1:]
	}
}

const pollEvery = 100 * time.Millisecond

// watchAgent asks the agent for its status all the time.
func (w *world) watchAgent() {
	for w.ctx.Err() == nil {
		v := view{at: time.Now()}
		v.err = ask(w.ctx, w.path("state"), &v)
		w.watch.heard(v)
		time.Sleep(pollEvery)
	}
}

func ask(ctx context.Context, state string, v *view) error {
	text, err := os.ReadFile(filepath.Join(state, "daemon.json"))
	if err != nil {
		return err
	}
	var d struct {
		PID    int
		Socket string
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return err
	}
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", d.Socket)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "{\"op\":\"status\"}\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadBytes('\n')
	if err != nil {
		return err
	}
	v.pid = d.PID
	return v.read(line)
}

// read takes from an answer what matters here.
func (v *view) read(line []byte) error {
	var a struct {
		Status struct {
			Link struct {
				State, Error     string
				Connects, Losses uint64
			}
			Outbox struct {
				Epoch string
				Lanes []struct {
					Lane        string
					Put, Queued uint64
					Oldest      time.Time
				}
			}
			Stuck string
		}
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return err
	}
	s := &a.Status
	v.online, v.connects, v.losses, v.epoch, v.put = s.Link.State == "online", s.Link.Connects, s.Link.Losses, s.Outbox.Epoch, map[string]uint64{}
	for _, l := range s.Outbox.Lanes {
		v.put[l.Lane] = l.Put
		v.queued += l.Queued
		if !l.Oldest.IsZero() && (v.oldest.IsZero() || l.Oldest.Before(v.oldest)) {
			v.oldest = l.Oldest
		}
	}
	v.text = string(bytes.TrimSpace(line))
	if s.Stuck != "" {
		return errors.New("stuck: " + s.Stuck)
	}
	return nil
}

// watchHub asks the hub for the device's links all the time.
func (w *world) watchHub() {
	for w.ctx.Err() == nil {
		at := time.Now()
		s, err := simctl.AskStatus(w.ctx, w.path("hub/control.sock"))
		n := 0
		if err == nil {
			for _, d := range s.Devices {
				for _, l := range d.Links {
					if strings.Contains(strings.ToLower(l), "/messages/") {
						n++
					}
				}
			}
		}
		w.watch.mu.Lock()
		w.watch.links, w.watch.linksAt = n, at
		w.watch.mu.Unlock()
		time.Sleep(pollEvery)
	}
}

// tail hands what the hub took to the judge. Each run of the hub has a file of its own; a last line that a kill cut short was not settled.
func (w *world) tail() {
	files := map[int]*tailed{}
	for {
		ended := w.ctx.Err() != nil
		for nth := 1; ; nth++ {
			f, ok := files[nth]
			if !ok {
				file, err := os.Open(w.path(fmt.Sprintf("events-%d.jsonl", nth)))
				if errors.Is(err, fs.ErrNotExist) {
					break
				}
				f = &tailed{r: bufio.NewReaderSize(file, 1<<20)}
				files[nth] = f
			}
			if err := f.next(w.judge); err != nil {
				w.judge.note("events-%d.jsonl: %v", nth, err)
			}
		}
		if ended {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// tailed is a file that grows.
type tailed struct {
	r    *bufio.Reader
	part []byte
}

func (f *tailed) next(j *judge) error {
	for {
		line, err := f.r.ReadBytes('\n')
		f.part = append(f.part, line...)
		if err != nil {
			return nil //nolint:nilerr // the rest of the line comes later, or never
		}
		var e event
		err = json.Unmarshal(f.part, &e)
		f.part = f.part[:0]
		if err != nil {
			return err
		}
		j.arrive(time.Now(), &e)
	}
}

// measure looks at the agent's size now and then.
func (w *world) measure() {
	for w.ctx.Err() == nil {
		if s, err := size(w.agent.pid()); err == nil {
			w.watch.mu.Lock()
			w.watch.memory = append(w.watch.memory, s)
			w.watch.mu.Unlock()
		}
		select {
		case <-w.ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}

func size(pid int) (sample, error) {
	s := sample{at: time.Now(), pid: pid}
	dir := "/proc/" + strconv.Itoa(pid)
	text, err := os.ReadFile(dir + "/status")
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "RssAnon:":
			s.anonKB, err = strconv.Atoi(f[1])
		case "Threads:":
			s.thr, err = strconv.Atoi(f[1])
		}
		if err != nil {
			return s, err
		}
	}
	fds, err := os.ReadDir(dir + "/fd")
	s.fds = len(fds)
	if s.anonKB == 0 {
		return s, errors.New("it has ended")
	}
	return s, err
}
