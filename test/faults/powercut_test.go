package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"iotagent/test/faults/replay"
)

// loads are what the power is cut under. Of each a trace is made for every cutsPerTrace cuts.
func loads() map[string]job {
	return map[string]job{
		"every put fsynced":   {Sessions: 3, Puts: 40, Big: 4000, MaxBytes: 64 << 20},
		"memory stage":        {Sessions: 3, Puts: 60, Big: 4000, MaxBytes: 64 << 20, MaxLoss: 100 * time.Millisecond, Safe: 20, Pause: 15 * time.Millisecond},
		"several files":       {Sessions: 2, Puts: 90, Big: 240_000, MaxBytes: 64 << 20},
		"quota drops":         {Sessions: 2, Puts: 60, Big: 120_000, MaxBytes: 1 << 20, Take: 4},
		"quota, memory stage": {Sessions: 2, Puts: 60, Big: 120_000, MaxBytes: 1 << 20, MaxLoss: 100 * time.Millisecond, Safe: 50, Take: 4},
	}
}

const cutsPerTrace = 50

// TestPowerCut cuts the power at random points of traced runs.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	needStrace(t)
	all := loads()
	cuts := times(t, "FAULTS_CUTS", 60)
	each := (cuts + len(all) - 1) / len(all)
	for name, j := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for done := 0; done < each; done += cutsPerTrace {
				j.Seed = rand.Uint64N(1 << 40)
				r := newRecording(t, j)
				if len(r.disk.Failed) > 0 || len(r.disk.Marks) < 10 {
					t.Fatalf("the trace has %d syncs and the like, %d of them failed", len(r.disk.Marks), len(r.disk.Failed))
				}
				r.cutOften(t, min(cutsPerTrace, each-done))
			}
		})
	}
}

// TestNoSyncLoses is the control: with syncs that do nothing the same test must find losses.
func TestNoSyncLoses(t *testing.T) {
	t.Parallel()
	needStrace(t)
	j := loads()["every put fsynced"]
	j.Sessions = 1
	r := newRecording(t, j, "-e", "inject=fdatasync,fsync:retval=0")
	if r.disk.Skipped == 0 {
		t.Fatal("no sync was left out")
	}
	lost := 0
	for range 5 {
		cut := r.randomCut()
		f := r.cut(t, cut, replay.Policy{})
		lost += f.lost
	}
	if lost == 0 {
		t.Errorf("%d syncs were left out and nothing was lost: the power cuts prove nothing", r.disk.Skipped)
	}
	t.Logf("control with %d syncs left out: 5 cuts, %d messages lost", r.disk.Skipped, lost)
}

// TestSyncFails cuts the power after syncs that failed: what was written before them is on the disk or not for ever, until it is written
// again. A put may return nil only when what it wrote was covered by a sync that did not fail.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	needStrace(t)
	cuts := times(t, "FAULTS_CUTS", 60) / 3
	j := job{Sessions: 1, Puts: 60, Big: 4000, MaxBytes: 64 << 20, Pause: 50 * time.Millisecond}
	sum, failed := summary{}, 0
	for done := 0; done < cuts; done += cutsPerTrace {
		j.Seed = rand.Uint64N(1 << 40)
		// Both syncs of a commit must get their turn.
		r := newRecording(t, j, "-e", fmt.Sprintf("inject=fdatasync,fsync:error=EIO:when=%d+%d", 10+rand.IntN(10), 21+2*rand.IntN(4)))
		if len(r.disk.Failed) == 0 {
			t.Fatal("no sync failed")
		}
		failed += len(r.disk.Failed)
		for range min(cutsPerTrace, cuts-done) {
			f := r.cut(t, r.afterFailure(), replay.Policy{})
			sum.add(f)
			if f.err() != nil {
				r.fail(t, f)
			}
		}
	}
	t.Logf("%d syncs failed: %s", failed, &sum)
}

// afterFailure draws a point after one of the first puts that returned after a sync had failed.
func (r *recording) afterFailure() int {
	line := r.disk.Failed[r.rand.IntN(len(r.disk.Failed))]
	skip := r.rand.IntN(4)
	for _, n := range r.notes {
		if n.line < line || n.What != put && n.What != synced {
			continue
		}
		if skip == 0 {
			return n.line + 1
		}
		skip--
	}
	return r.disk.Lines()
}

// recording is a traced run of a worker.
type recording struct {
	job   job
	disk  *replay.Disk
	notes []timedNote
	rand  *rand.Rand
	sum   summary
	last  string // what the last cut was
}

type timedNote struct {
	line int
	note
}

// newRecording runs a worker to its end under strace, with more options for that.
func newRecording(t *testing.T, j job, options ...string) *recording {
	t.Helper()
	state := memoryDir(t)
	trace := filepath.Join(memoryDir(t), "trace")
	j.Dir = filepath.Join(state, "outbox")
	args := slices.Concat([]string{"-o", trace}, replay.Flags(), options, []string{os.Args[0]})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "strace", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Env = j.environment()
	if err := cmd.Run(); err != nil {
		t.Fatalf("worker: %v\n%s", err, stderr.String())
	}
	r := &recording{job: j, rand: rand.New(rand.NewPCG(j.Seed, 0))}
	r.read(t, trace, state)
	return r
}

func (j *job) environment() []string {
	text, err := json.Marshal(j)
	if err != nil {
		panic(err) // strings and numbers
	}
	return append(os.Environ(), workerEnv+"="+string(text))
}

func (r *recording) read(t *testing.T, trace, state string) {
	t.Helper()
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	calls, err := replay.Parse(f)
	if err != nil {
		t.Fatalf("trace: %v", err)
	}
	if r.disk, err = replay.NewDisk(calls, state); err != nil {
		t.Fatalf("trace: %v", err)
	}
	for _, o := range r.disk.Output {
		n, err := parseNote(o.Data)
		if err != nil {
			t.Fatalf("trace: a note: %v", err)
		}
		if n.What == unclosed && len(r.disk.Failed) == 0 {
			t.Errorf("close: %s", n.Error)
		}
		r.notes = append(r.notes, timedNote{o.Begin, n})
	}
}

// randomCut draws a point: anywhere, just after a put returned, or where something was synced.
func (r *recording) randomCut() int {
	switch r.rand.IntN(3) {
	case 0:
		for range 1000 {
			if n := r.notes[r.rand.IntN(len(r.notes))]; n.What == put {
				return n.line + 1
			}
		}
	case 1:
		return r.disk.Marks[r.rand.IntN(len(r.disk.Marks))] + r.rand.IntN(3) - 1
	}
	return r.rand.IntN(r.disk.Lines() + 1)
}

// randomPolicy draws what becomes of what was not synced.
func (r *recording) randomPolicy() replay.Policy {
	return replay.Policy{
		Chance:   []float64{0, 0, 0.1, 0.5, 0.9, 1}[r.rand.IntN(6)],
		Unit:     []replay.Unit{replay.Page, replay.Sector}[r.rand.IntN(2)],
		AnyOrder: r.rand.IntN(2) == 0,
		Rand:     r.rand,
	}
}

func (r *recording) cutOften(t *testing.T, n int) {
	t.Helper()
	for range n {
		f := r.cut(t, r.randomCut(), r.randomPolicy())
		if f.err() != nil {
			r.fail(t, f)
		}
		if len(f.aside) > 0 { // every sync did its work: whatever else was lost, the files are as they were at some commit
			t.Fatalf("cut %s: files taken for damaged: %v", r.last, f.aside)
		}
	}
	t.Log(&r.sum)
}

// cut makes the disk as it may be after a cut and examines the outbox on it.
func (r *recording) cut(t *testing.T, cut int, p replay.Policy) *findings {
	t.Helper()
	r.last = fmt.Sprintf("at line %d of %d (seed %d), chance %v, unit %d, any order %v", cut, r.disk.Lines(), r.job.Seed, p.Chance, p.Unit, p.AnyOrder)
	dir := memoryDir(t)
	if err := r.disk.Cut(cut, p).WriteTo(dir); err != nil {
		t.Fatal(err)
	}
	h := newHistory(r.job.MaxLoss)
	for _, n := range r.notes {
		if n.line >= cut {
			break
		}
		h.add(n.note)
	}
	j := r.job
	j.Dir = filepath.Join(dir, "outbox")
	f := examine(t, &j, h, r.disk.TimeOf(cut))
	r.sum.add(f)
	if f.err() == nil { // space for the next one
		if err := os.RemoveAll(j.Dir); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (r *recording) fail(t *testing.T, f *findings) {
	t.Helper()
	t.Fatalf("cut %s:\n\t%v", r.last, f.err())
}

// summary adds up findings for the log.
type summary struct {
	faults, messages, lost, doubled, again, dropped, staged, aside int
	ready                                                          time.Duration
	gaps                                                           map[string]int
}

func (s *summary) add(f *findings) {
	s.faults++
	s.messages += f.messages
	s.lost += f.lost
	s.doubled += f.doubled
	s.again += f.again
	s.dropped += f.dropped
	s.staged += f.staged
	s.aside += len(f.aside)
	s.ready = max(s.ready, f.ready)
	if s.gaps == nil {
		s.gaps = map[string]int{}
	}
	for _, e := range f.entries {
		if e.Gap != nil {
			s.gaps[e.Gap.Reason]++
		}
	}
}

func (s *summary) String() string {
	return fmt.Sprintf("%d faults, %d messages out, %d lost, %d doubled, %d acknowledged ones again, %d dropped and declared, %d staged and declared, "+
		"%d files set aside, gaps %v, worst ready time %s",
		s.faults, s.messages, s.lost, s.doubled, s.again, s.dropped, s.staged, s.aside, s.gaps, s.ready.Round(time.Millisecond))
}
