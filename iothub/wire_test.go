package iothub

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	amqp "github.com/Azure/go-amqp"
)

// A FLOW as some gateways send it, without next-incoming-id, and as it should be; they differ in byte 20.
const (
	badFlow  = "0000002802000000005313d00000001800000007407000001388520170ffffffff434370000003e8"
	goodFlow = "0000002802000000005313d00000001800000007437000001388520170ffffffff434370000003e8"
)

func unhex(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// stream is a transport that reads prepared bytes and throws away what is written.
type stream struct {
	net.Conn
	io.Reader
}

func (s stream) Read(p []byte) (int, error)     { return s.Reader.Read(p) }
func (s stream) Write(p []byte) (int, error)    { return len(p), nil }
func (stream) SetWriteDeadline(time.Time) error { return nil }
func (stream) Close() error                     { return nil }

func quiet() *watch {
	return &watch{gate: newGate(func() {}), lost: func(string, bool, *amqp.Error) {}, broken: func(error) {}}
}

const (
	header    = "414d515000010000"
	keepalive = "0000000802000000"
	// answer is the hub's BEGIN on its channel 0 for our channel 0.
	answer = "0000001602000000005311c0090460000043527f527f"
)

// perf returns a frame on channel 0 with a performative of these encoded fields, in hex.
func perf(code string, fields ...string) string {
	all := strings.Join(fields, "")
	return framed("0053" + code + hex.EncodeToString([]byte{0xc0, byte(len(all)/2 + 1), byte(len(fields))}) + all)
}

// framed puts a frame's head on a body, in hex.
func framed(body string) string {
	n := 8 + len(body)/2
	return hex.EncodeToString([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 2, 0, 0, 0}) + body
}

// begun returns a wire over these bytes with a session begun on channel 0.
func begun(tb testing.TB, in io.Reader, to *watch) *wire {
	tb.Helper()
	w := newWire(stream{Reader: in}, to)
	tb.Cleanup(func() { _ = w.Close() }) // of nothing
	if _, err := w.Write(unhex(tb, perf("11", "40", "43", "52ff", "52ff"))); err != nil {
		tb.Fatal(err)
	}
	return w
}

func TestFlowIsRepaired(t *testing.T) {
	tests := []struct {
		name      string
		transfers int
		in, want  string
	}{
		{"untouched", 3, goodFlow, goodFlow},
		{"first", 0, badFlow, goodFlow},
		{"one byte more", 5, badFlow, "0000002902000000005313d0000000190000000752057000001388520170ffffffff434370000003e8"},
		{"four bytes more", 5000, badFlow, "0000002c02000000005313d00000001c0000000770000013887000001388520170ffffffff434370000003e8"},
	}
	for _, tt := range tests {
		for _, chunk := range []bool{false, true} {
			in := io.Reader(bytes.NewReader(unhex(t, header+answer+tt.in+keepalive+tt.in)))
			if chunk {
				in = iotest.OneByteReader(in)
			}
			w := begun(t, in, quiet())
			for range tt.transfers {
				_, _ = w.Write(unhex(t, perf("14", "43", "43"))) // never fails
			}
			got, err := io.ReadAll(w)
			if want := header + answer + tt.want + keepalive + tt.want; err != nil || hex.EncodeToString(got) != want {
				t.Errorf("%s: %v\n got %x\nwant %s", tt.name, err, got, want)
			}
		}
	}
}

func TestFramesMended(t *testing.T) {
	mend := func(in string) string {
		w := begun(t, bytes.NewReader(unhex(t, answer+in)), quiet())
		got, err := io.ReadAll(w)
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		return strings.TrimPrefix(hex.EncodeToString(got), answer)
	}
	const problem = "00531dc00902a303613a62a10163"
	for _, tt := range []struct{ name, in, want string }{
		{"flow of a link without credit", perf("13", "43", "43", "43", "43", "5203"), perf("13", "43", "43", "43", "43", "40")},
		{"flow of a link with null credit", perf("13", "43", "43", "43", "43", "5203", "43", "40"), perf("13", "43", "43", "43", "43", "40", "43", "40")},
		{"flow of the session", perf("13", "40", "43", "43", "43"), perf("13", "43", "43", "43", "43")},
		{"detach without closed", perf("16", "5207"), perf("16", "5207", "41")},
		{"detach with closed false", perf("16", "5207", "42"), perf("16", "5207", "41")},
		{"detach with closed null and an error", perf("16", "5207", "40", problem), perf("16", "5207", "41", problem)},
		{"closing detach", perf("16", "5207", "41"), perf("16", "5207", "41")},
		{"closing detach in the long form", perf("16", "5207", "5601"), perf("16", "5207", "5601")},
	} {
		if got := mend(tt.in); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestFramesRefused(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"http", hex.EncodeToString([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")), "no AMQP server"},
		{"short", "0000000702000000", "shorter than its header"},
		{"oversized", "0001000102000000", "larger than"},
		{"data offset", "0000000803000000", "data offset"},
		{"type", "0000000c02020000" + "00531045", "unknown type"},
		{"empty performative", framed("005313"), "without a performative"},
		{"other descriptor", framed("00a30568656c6c6f45"), "without a performative"},
		{"a map for a list", framed("005313c10100"), "not a list"},
		{"text for a list", framed("005313a10141"), "not a list"},
		{"truncated", framed("005313c0ff"), "truncated"},
		{"list longer than its elements", framed("005313c003014343"), "longer than its elements"},
		{"odd map", perf("13", "c1020143"), "odd number"},
		{"binary map key", perf("17", "c10502a0016b43"), "map key"},
		{"range", perf("15", "41", "43", "70ffffffff"), "disposition of deliveries"},
		{"large range", perf("15", "41", "43", "7000ffffff"), "disposition of deliveries"},
		{"small frames", perf("10", "a100", "40", "5207"), "max-frame-size"},
		{"hasty heartbeat", perf("10", "a100", "40", "40", "40", "5207"), "idle-time-out"},
		{"begin unasked", perf("11", "40", "43", "43", "43"), "not asked for"},
		{"begin for another", perf("11", "600009", "43", "43", "43"), "not in use"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			to := quiet()
			var broken error
			to.broken = func(err error) { broken = err }
			w := begun(t, bytes.NewReader(unhex(t, answer+tt.in)), to)
			_, err := io.ReadAll(w)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(broken, err) {
				t.Errorf("error %v, told %v, want one with %q", err, broken, tt.want)
			}
		})
	}
}

func TestSkipValue(t *testing.T) {
	tests := []struct {
		name, in string
		ok       bool
	}{
		{"null", "40", true},
		{"ulong", "80" + "0000000000000001", true},
		{"uuid", "98" + strings.Repeat("00", 16), true},
		{"string", "a10141", true},
		{"described", "00531d45", true},
		{"described by a symbol", "00a30161" + "45", true},
		{"map", "c10502a1016b43", true},
		{"array of two symbols", "e00602a301610162", true},
		{"array with bytes left over", "e00702a30161016200", false},
		{"array of nulls", "e0020940", true},
		{"array of one list", "e00501c0020143", true},
		{"array without a constructor", "e00100", false},
		{"empty", "", false},
		{"cut number", "7000", false},
		{"cut string", "a10541", false},
		{"huge string", "b1ffffffff41", false},
		{"huge list", "d0ffffffff0000000140", false},
		{"list without a count", "c000", false},
		{"count too large", "c0020540", false},
		{"list with bytes left over", "c003014040", false},
		{"odd map", "c1020143", false},
		{"binary key", "c10402a00043", false},
		{"list for a key", "c103024543", false},
		{"described key", "c106020053434343", false},
		{"compound descriptor", "00c0010045", false},
		{"described descriptor", "00005343434345", false},
		{"array of described", "e0020100", false},
		{"unknown constructor", "30", false},
		{"five deep", nested(5), true},
		{"thirty deep", nested(30), false},
	}
	for _, tt := range tests {
		rest, err := skipValue(unhex(t, tt.in), 0)
		if ok := err == nil && len(rest) == 0; ok != tt.ok {
			t.Errorf("%s: rest %x, error %v", tt.name, rest, err)
		}
	}
}

// nested returns a list in a list in a list, in hex.
func nested(depth int) string {
	b := []byte{0x45}
	for range depth {
		b = append([]byte{0xc0, byte(len(b) + 1), 1}, b...)
	}
	return hex.EncodeToString(b)
}

func FuzzWire(f *testing.F) {
	f.Add(unhex(f, header+answer+badFlow+keepalive), byte(1))
	f.Add(unhex(f, answer+perf("16", "5207")), byte(7))
	f.Add(unhex(f, answer+framed("005314c0070443"+"43a0017443"+"005372c10502a1016b43")), byte(3))
	f.Fuzz(func(t *testing.T, in []byte, chunk byte) {
		whole, wholeErr := io.ReadAll(begun(t, bytes.NewReader(in), quiet()))
		parts, partsErr := io.ReadAll(begun(t, &chunked{bytes.NewReader(in), int(chunk%16) + 1}, quiet()))
		if !bytes.Equal(whole, parts) || (wholeErr == nil) != (partsErr == nil) {
			t.Errorf("in pieces of %d: %x, %v; whole: %x, %v", chunk%16+1, parts, partsErr, whole, wholeErr)
		}
	})
}

type chunked struct {
	r io.Reader
	n int
}

func (c *chunked) Read(p []byte) (int, error) { return c.r.Read(p[:min(len(p), c.n)]) }

// What skipValue lets through must not make the library panic.
func FuzzMessage(f *testing.F) {
	f.Add(unhex(f, "005373d00000000800000001a1026d31005374d10000000a00000002a1016ba10176005375a00141"))
	f.Add(unhex(f, "005372c10502a3016b43005377c0030243"+"43"))
	f.Add(unhex(f, "005378c10402a0"+"0043"))
	f.Add(unhex(f, "005377c10502c0030143"+"43"))
	f.Fuzz(func(t *testing.T, in []byte) {
		w := &wire{to: quiet()}
		if w.transfer(&session{incoming: map[uint32]*end{0: {}}}, [][]byte{{0x43}}, in) != nil {
			return
		}
		var m amqp.Message
		if m.UnmarshalBinary(in) != nil {
			return
		}
		if d, err := delivery(&m); err == nil && len(d.Body) > maxCommand {
			t.Errorf("body of %d bytes", len(d.Body))
		}
	})
}
