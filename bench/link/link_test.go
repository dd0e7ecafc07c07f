package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
)

// TestMain lets the test program be the processes of a run, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"sink", "relay", "fill", "client"}, os.Args[1]) {
		if err := run(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Every client but Node's sends a few messages, and the sink counts them all: turn refuses anything else.
func TestEveryMessageArrives(t *testing.T) {
	b := &bench{rounds: 1, scale: 0.005, data: t.TempDir(), modules: t.TempDir()}
	fig, err := b.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range fig.Standings {
		if s.Name == nodeSDK {
			continue
		}
		if s.Missing != "" || len(s.Turns) != 1 || s.median().perSecond() <= 0 || s.median().PeakRSS <= 0 {
			t.Errorf("%+v", s)
		}
	}
	if fig.text() == "" {
		t.Error("no text")
	}
}

func TestDataSections(t *testing.T) {
	short, long := []byte{0, 0x53, 0x75, 0xa0, 4, 1, 2, 3, 4}, []byte{0, 0x53, 0x75, 0xb0, 0, 0, 0, 1, 9}
	for _, c := range []struct {
		payload []byte
		want    int64
	}{
		{nil, 0},
		{short, 1},
		{slices.Concat(short, long, short), 3},
		{slices.Concat(short, long[:8]), 1},
		{[]byte{0, 0x53, 0x77, 0xa1, 1, 'x', 0, 0, 0}, 0},
	} {
		if got := dataSections(c.payload); got != c.want {
			t.Errorf("%x: %d, want %d", c.payload, got, c.want)
		}
	}
}
