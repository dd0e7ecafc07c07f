package gpioline

import (
	"errors"
	"io"
	"os"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// pipeInput is an input whose events come through a pipe, which the runtime waits for as it does for a line.
func pipeInput(t *testing.T) (in *Input, kernel *os.File) {
	t.Helper()
	r, kernel, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if in, err = newInput(fd, "GPIO17"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // most tests have done so
		_ = kernel.Close()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return in, kernel
}

func raw(events ...lineEvent) []byte {
	var all []byte
	for _, e := range events {
		all = append(all, (*[unsafe.Sizeof(e)]byte)(unsafe.Pointer(&e))[:]...)
	}
	return all
}

func TestWait(t *testing.T) {
	in, kernel := pipeInput(t)
	if _, err := kernel.Write(raw(lineEvent{timestamp: 5, id: 1, seqno: 9, lineSeqno: 1}, lineEvent{timestamp: 1 << 40, id: 2, lineSeqno: 4})); err != nil {
		t.Fatal(err)
	}
	got, err := in.Wait(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Event{{Rising: true, Nanoseconds: 5, Seq: 1}, {Nanoseconds: 1 << 40, Seq: 4}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWaitOddities(t *testing.T) {
	for name, data := range map[string][]byte{
		"half an event": raw(lineEvent{id: 1})[:20],
		"unknown kind":  raw(lineEvent{id: 3}),
		"kind 0":        raw(lineEvent{}),
	} {
		in, kernel := pipeInput(t)
		if _, err := kernel.Write(data); err != nil {
			t.Fatal(err)
		}
		if got, err := in.Wait(nil); err == nil || len(got) != 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// Close wakes whoever waits, so that no goroutine is left.
func TestCloseWakes(t *testing.T) {
	in, _ := pipeInput(t)
	result := make(chan error)
	go func() {
		_, err := in.Wait(nil)
		result <- err
	}()
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Wait ended with %v", err)
	}
	if _, err := in.Active(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Active after Close: %v", err)
	}
}

func TestActiveNeedsALine(t *testing.T) {
	in, kernel := pipeInput(t)
	if _, err := in.Active(); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("got %v", err)
	}
	if err := kernel.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Wait(nil); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}
