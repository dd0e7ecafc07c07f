package iothub

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// tape is a transport that keeps what is written and has nothing to read but what it was given.
type tape struct {
	net.Conn
	io.Reader
	wrote bytes.Buffer
}

func (t *tape) Read(p []byte) (int, error)     { return t.Reader.Read(p) }
func (t *tape) Write(p []byte) (int, error)    { return t.wrote.Write(p) }
func (*tape) SetWriteDeadline(time.Time) error { return nil }
func (*tape) Close() error                     { return nil }

// The names and frames of a session on channel 0 with a telemetry link, whose handle is 2, and a command link.
const (
	linkT = telemetryPrefix + "T"
	linkC = "command-C"
)

func attachFrame(name string, handle byte, receiver bool) string {
	role := "42"
	if receiver {
		role = "41"
	}
	return perf("12", "a1"+hex.EncodeToString([]byte{byte(len(name))})+hex.EncodeToString([]byte(name)), "52"+hex.EncodeToString([]byte{handle}), role)
}

// telling returns a wire whose library has begun a session at transfer number next and attached both links. The peer's frames in are there to be read.
func telling(t *testing.T, next uint32, in string) (*wire, *tape) {
	t.Helper()
	peer := answer + attachFrame(linkT, 5, true) + in
	conn := &tape{Reader: bytes.NewReader(unhex(t, peer))}
	w := newWire(conn, quiet())
	number := "70" + hex.EncodeToString(binary.BigEndian.AppendUint32(nil, next))
	tell(t, w, perf("11", "40", number, "52ff", "52ff"), attachFrame(linkT, 2, false), attachFrame(linkC, 3, true))
	return w, conn
}

// tell has the library write frames.
func tell(t *testing.T, w *wire, frames ...string) {
	t.Helper()
	for _, f := range frames {
		if _, err := w.Write(unhex(t, f)); err != nil {
			t.Fatal(err)
		}
	}
}

// written closes a wire and returns the frames that it wrote, without those of telling.
func written(t *testing.T, w *wire, conn *tape) (frames []string) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for b := conn.wrote.Bytes(); len(b) > 0; {
		size := binary.BigEndian.Uint32(b)
		frames = append(frames, hex.EncodeToString(b[:size]))
		b = b[size:]
	}
	return frames[3:]
}

// sendWhole writes a message in as many frames as it takes.
func sendWhole(t *testing.T, w *wire, message string) {
	t.Helper()
	rest := []byte(message)
	for first := true; first || len(rest) > 0; first = false {
		var err error
		if rest, err = w.send(linkT, 0, rest, first); err != nil {
			t.Fatal(err)
		}
	}
}

func transferHex(id string, more bool, payload string) string {
	flag := "42"
	if more {
		flag = "41"
	}
	fields := "7000000002" + "70" + id + "a004" + id + "7000000000" + "42" + flag
	return framed("005314c0" + hex.EncodeToString([]byte{byte(len(fields)/2 + 1), 6}) + fields + hex.EncodeToString([]byte(payload)))
}

// What is sent past the library stands between its own frames in the order of the calls, and the library's FLOWs tell of it.
func TestTransfersAmongTheLibrarysFrames(t *testing.T) {
	for _, tt := range []struct {
		name        string
		next        uint32
		none, after string // next-outgoing-id in the library's FLOW, and what it is made
	}{
		{"from 0", 0, "43", "5202"},
		{"over the end of the numbers", math.MaxUint32, "70ffffffff", "5201"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, conn := telling(t, tt.next, "")
			if _, err := io.ReadAll(w); err != nil { // the peer's answers
				t.Fatal(err)
			}
			flowC := func(next string) string { return perf("13", "43", "52ff", next, "52ff", "5203", "43", "5208") }
			flowT := func(next, count, credit string) string {
				return perf("13", "43", "52ff", next, "52ff", "5202", count, credit)
			}
			tell(t, w, flowC(tt.none))
			sendWhole(t, w, "a")
			sendWhole(t, w, "b")
			tell(t, w, flowC(tt.none), flowT(tt.none, "43", "5264"), perf("13", "43", "52ff", tt.none, "52ff"))
			want := []string{
				flowC(tt.none), transferHex("00000000", false, "a"), transferHex("00000001", false, "b"),
				flowC(tt.after), flowT(tt.after, "5202", "43"), perf("13", "43", "52ff", tt.after, "52ff"), // it never gave credit
			}
			if diff := cmp.Diff(want, written(t, w, conn)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestTransferInSeveralFrames(t *testing.T) {
	w, conn := telling(t, 0, perf("10", "a100", "40", "60"+"0200")) // frames of 512 bytes at most
	if _, err := io.ReadAll(w); err != nil {
		t.Fatal(err)
	}
	message := strings.Repeat("0123456789", 120)
	sendWhole(t, w, message)
	sendWhole(t, w, "next")
	frames := written(t, w, conn)
	var whole []byte
	for i, f := range frames {
		frame := unhex(t, f)
		code, fields, payload, err := performative(frame)
		if err != nil || code != codeTransfer || len(frame) > 512 {
			t.Fatalf("frame %d: %s: %v", i, f, err)
		}
		id, first := uintField(fields, 1)
		last := i == len(frames)-1
		if first != (i == 0 || last) || (last && id != 1) || boolField(fields, 5) != (i < len(frames)-2) || boolField(fields, 4) {
			t.Errorf("frame %d: %s", i, f)
		}
		whole = append(whole, payload...)
	}
	if string(whole) != message+"next" {
		t.Errorf("%d frames make %q", len(frames), whole)
	}
}

// Once the link's detach is on its way, from either side, nothing more goes out on it.
func TestNoTransferAfterDetach(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, w *wire){
		"the library detaches":      func(t *testing.T, w *wire) { tell(t, w, perf("16", "5202", "41")) },
		"the library ends it all":   func(t *testing.T, w *wire) { tell(t, w, framed("00531745")) },
		"the peer detaches":         func(t *testing.T, w *wire) { _, _ = io.ReadAll(w) },
		"the library has a new one": func(t *testing.T, w *wire) { tell(t, w, attachFrame(linkT+"2", 4, false)) },
	} {
		t.Run(name, func(t *testing.T) {
			w, conn := telling(t, 0, perf("16", "5205", "41"))
			if _, err := w.send(linkT, 0, []byte("a"), true); err != nil {
				t.Fatal(err)
			}
			end(t, w)
			if _, err := w.send(linkT, 0, []byte("b"), true); !errors.Is(err, errNoLink) {
				t.Errorf("%v, want %v", err, errNoLink)
			}
			if frames := written(t, w, conn); slices.Contains(frames, transferHex("00000001", false, "b")) {
				t.Errorf("written: %v", frames)
			}
		})
	}
}

// A peer that waits for the sender to settle, as receivers of mode second do, is answered; the library hears of neither.
func TestDispositionsOfTelemetry(t *testing.T) {
	const accepted = "00532445"
	settled, open := perf("15", "41", "43", "40", "41", accepted), perf("15", "41", "43", "5201", "42", accepted)
	for _, tt := range []struct {
		name, in string
		outcomes int
		want     []string
	}{
		{"settled", settled, 1, nil},
		{"second", open, 2, []string{perf("15", "42", "43", "5201", "41", accepted)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, conn := telling(t, 0, tt.in)
			receipts := make([]*Receipt, 2)
			for i := range receipts {
				receipts[i] = &Receipt{done: make(chan struct{})}
				w.to.gate.change(func() { w.to.gate.current = receipts[i] })
				sendWhole(t, w, "x")
			}
			got, err := io.ReadAll(w)
			if err != nil || bytes.HasSuffix(got, unhex(t, tt.in)) {
				t.Errorf("%x, %v", got, err)
			}
			n := 0
			for _, r := range receipts {
				select {
				case <-r.done:
					n++
				default:
				}
			}
			if n != tt.outcomes {
				t.Errorf("%d outcomes, want %d", n, tt.outcomes)
			}
			if diff := cmp.Diff(tt.want, written(t, w, conn)[2:], cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
