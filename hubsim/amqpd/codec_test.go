package amqpd

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestValuesRoundTrip(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	for _, v := range []any{
		nil, true, false, uint8(200), uint16(60000), uint32(0), uint32(255), uint32(256), uint64(0), uint64(255),
		uint64(math.MaxUint64), int8(-1), int16(-300), int32(-128), int32(127), int32(-129), int64(-128), int64(math.MinInt64),
		float32(1.5), math.Pi, Char('é'), time.UnixMilli(-1).UTC(), time.UnixMilli(1700000000123).UTC(),
		UUID{1, 2, 15: 16},
		Decimal{1, 2, 3, 4},
		Decimal(make([]byte, 16)), "", "text", long, Symbol("sym"), Symbol(long),
		[]byte{},
		[]byte(long),
		[]any{},
		[]any{uint32(1), "a", nil},
		[]any{long},
		Map{},
		Map{{Symbol("k"), []any{long}}, {"s", int32(-5)}},
		Array{},
		Array{Symbol("a"), Symbol("")},
		Array{int32(1), int32(-1), int32(70000)},
		Array{uint64(1), uint64(0)},
		Array{int64(-7), int64(1 << 40)},
		Array{true, false},
		Array{uint32(0), uint32(1 << 20)},
		Array{[]any{}, []any{"a"}, []any{long}},
		Array{Map{}, Map{{"a", "b"}}},
		Array{&Described{Symbol("d"), "x"}, &Described{Symbol("d"), "y"}},
		Array{"", long},
		Array{[]byte{1}, []byte{}},
		Array{UUID{}, UUID{9}},
		Array{Array{"a"}, Array{}},
		&Described{uint64(0x0000468C00000004), "amqp.annotation.x-opt-offset > '1'"}, &Described{Symbol("x:y"), &Described{uint64(1), []any{}}},
	} {
		b := appendValue(nil, v)
		d := &decoder{b: b}
		got, err := d.value()
		if err != nil || len(d.b) != 0 {
			t.Errorf("%#v: %x: %v, %d bytes left", v, b, err, len(d.b))
			continue
		}
		if diff := cmp.Diff(got, v); diff != "" {
			t.Errorf("%x: got - want +\n%s", b, diff)
		}
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value any
		want  string
	}{
		{uint32(0), "43"},
		{uint32(200), "52c8"},
		{uint64(0x24), "5324"},
		{int32(5671), "7100001627"},
		{int64(-1), "55ff"},
		{int(3), "5503"},
		{Fields{{"k", "v"}}, "c10702a3016ba10176"},
		{[]Symbol{"a", "bc"}, "e00d02b30000000161000000026263"},
		{[]string(nil), "e0020040"},
		{struct{ A int }{1}, "a1037b317d"},
	} {
		if got := hex.EncodeToString(appendValue(nil, c.value)); got != c.want {
			t.Errorf("%#v: got %s, want %s", c.value, got, c.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"empty":                 "",
		"unknown code":          "99",
		"cut off":               "a10541",
		"string not UTF-8":      "a101ff",
		"boolean 2":             "5602",
		"odd map":               "c1020140",
		"count beyond size":     "d000000004ffffffff",
		"size beyond buffer":    "d0ffffffff00000000",
		"trailing element":      "c003014040",
		"array of many nulls":   "f00000000500ffffff40",
		"array count too large": "e00305a101",
		"string descriptor":     "00a1016140",
		"described in an array": "e0050100534000",
		"nested too deep":       strings.Repeat("005301", 40) + "40",
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := (&decoder{b: b}).value(); err == nil {
			t.Errorf("%s: got %#v, want an error", name, v)
		}
	}
}

func TestGoldenFrames(t *testing.T) {
	t.Parallel()
	detach := &detachFrame{closed: true, err: &Error{Condition: CondLinkRedirect, Info: Fields{
		{"hostname", "h"},
		{"network-host", "h"},
		{"port", int32(5671)},
		{"address", "amqps://h:5671/eh/ConsumerGroups/$Default/Partitions/0"},
	}}}
	want := "0000009902000000005316c08c03434100531dc08403a312616d71703a6c696e6b3a7265646972656374a100c16b08a308686f73746e616d65a10168" +
		"a30c6e6574776f726b2d686f7374a10168a304706f72747100001627a30761646472657373a136616d7170733a2f2f683a353637312f65682f436f6e73756d6572" +
		"47726f7570732f2444656661756c742f506172746974696f6e732f30"
	if got := hex.EncodeToString(appendFrame(nil, frameTypeAMQP, 0, detach, nil)); got != want {
		t.Errorf("detach\n got %s\nwant %s", got, want)
	}
	// FLOW frames of a real gateway, the first without next-incoming-id.
	for in, next := range map[string]optional{
		"0000002802000000005313d00000001800000007407000001388520170ffffffff434370000003e8": {},
		"0000002802000000005313d00000001800000007437000001388520170ffffffff434370000003e8": some(0),
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		f, err := (&frameReader{r: bytes.NewReader(b), limit: minFrameSize}).read()
		if err != nil {
			t.Fatal(err)
		}
		want := &flowFrame{
			nextIncomingID: next, incomingWindow: 5000, nextOutgoingID: 1, outgoingWindow: math.MaxUint32,
			handle: some(0), deliveryCount: some(0), linkCredit: some(1000),
		}
		if diff := cmp.Diff(readFlow(f.perf), want, cmp.AllowUnexported(flowFrame{}, optional{})); diff != "" {
			t.Errorf("flow: got - want +\n%s", diff)
		}
	}
}

func TestPerformativesReadTolerantly(t *testing.T) {
	t.Parallel()
	f := &frame{}
	attach := &Described{Symbol("amqp:attach:list"), []any{
		"n", uint8(3), true, nil, nil,
		&Described{Symbol("amqp:source:list"), []any{"addr", nil, nil, nil, nil, nil, nil, Map{{Symbol("f"), "v"}}}},
		nil, nil, nil, nil, uint32(7), nil, nil,
		Map{{"k", "string keys happen"}},
		"one field too many",
	}}
	if err := f.parse(appendValue(nil, attach)); err != nil {
		t.Fatal(err)
	}
	got := readAttach(f.perf)
	want := &attachFrame{
		name: "n", handle: 3, receiver: true, snd: SndMixed, maxMessageSize: 7,
		source:     &Terminus{Address: "addr", Filter: Map{{Symbol("f"), "v"}}},
		properties: Fields{{"k", "string keys happen"}},
	}
	if diff := cmp.Diff(got, want, cmp.AllowUnexported(attachFrame{}, optional{})); diff != "" || f.perf.err != nil {
		t.Errorf("error %v; got - want +\n%s", f.perf.err, diff)
	}
}

func FuzzValue(f *testing.F) {
	for _, s := range []string{"40", "c10702a3016ba10176", "e00d02b30000000161000000026263", "005324450053754500", "d00000000500000001a10141"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := (&decoder{b: in}).value()
		if err != nil {
			return
		}
		b := appendValue(nil, v)
		again, err := (&decoder{b: b}).value()
		if err != nil {
			t.Fatalf("%x became %x, which is refused: %v", in, b, err)
		}
		if b2 := appendValue(nil, again); !bytes.Equal(b, b2) {
			t.Fatalf("%x became %x and then %x", in, b, b2)
		}
	})
}

func FuzzFrames(f *testing.F) {
	for _, p := range []performative{
		&openFrame{containerID: "c"}, &beginFrame{}, &flowFrame{handle: some(1)}, &transferFrame{tag: []byte{1}},
		&dispositionFrame{state: State{Kind: Rejected, Error: &Error{}}}, &detachFrame{err: &Error{}}, &closeFrame{},
		&attachFrame{name: "n", source: &Terminus{Filter: Map{}}, target: &Terminus{Address: "a"}},
	} {
		f.Add(appendFrame(nil, frameTypeAMQP, 1, p, []byte("payload")))
	}
	f.Add([]byte{0, 0, 0, 8, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		fr := &frameReader{r: bytes.NewReader(in), limit: 4096}
		for {
			f, err := fr.read()
			if err != nil {
				return
			}
			if len(f.payload) > len(in) {
				t.Fatal("payload from nowhere")
			}
			if f.perf != nil {
				readAny(f)
			}
		}
	})
}

// readAny reads the performative whatever it is.
func readAny(f *frame) {
	list := f.perf.list
	for _, read := range []func(*fieldReader){
		func(r *fieldReader) { readOpen(r) },
		func(r *fieldReader) { readBegin(r) },
		func(r *fieldReader) { readAttach(r) },
		func(r *fieldReader) { readFlow(r) },
		func(r *fieldReader) { readTransfer(r) },
		func(r *fieldReader) { readDisposition(r) },
		func(r *fieldReader) { readDetach(r) },
		func(r *fieldReader) { readError(r) },
	} {
		read(&fieldReader{list: list})
	}
}
