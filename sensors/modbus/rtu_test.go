package modbus

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/sensors"
)

func TestCRC16(t *testing.T) {
	if got := crc16([]byte("123456789")); got != 0x4b37 { // the check value of CRC-16/MODBUS
		t.Errorf("crc16: %#04x", got)
	}
	for body, want := range map[string]string{
		"02 07": "41 12", "01 03 00 00 00 02": "c4 0b", "01 04 00 00 00 02": "71 cb", "01 04 00 0a 00 01": "11 c8", "01 03 50 00 00 18": "54 c0",
		"11 03 00 6b 00 03": "76 87", "11 03 06 ae 41 56 52 43 40": "49 ad", "01 83 02": "c0 f1", "01 03 04 41 bc 00 00": "2f eb",
	} {
		b := bytesOf(body)
		if got := rtuFrame(b[0], b[1:]); !bytes.Equal(got, bytesOf(body+want)) {
			t.Errorf("frame of %s: % x, want it to end in %s", body, got, want)
		}
	}
}

// The times of a character and of the silence between frames, in microseconds (Serial Line V1.02, section 2.5.1.1).
func TestLineTimes(t *testing.T) {
	for _, tc := range []struct {
		baud, stop     int
		parity         string
		char, interval time.Duration
	}{
		{1200, 1, "even", 9166, 32083},
		{9600, 1, "even", 1145, 4010},
		{9600, 2, "none", 1145, 4010},
		{9600, 1, "none", 1041, 3645},
		{19200, 1, "odd", 572, 2005},
		{38400, 1, "even", 286, 1750},
		{115200, 1, "even", 95, 1750},
	} {
		l := &rtuLink{char: characterTime(address{baud: tc.baud, stopBits: tc.stop, parity: tc.parity})}
		if l.char/time.Microsecond != tc.char || l.quiet()/time.Microsecond != tc.interval {
			t.Errorf("%d baud: %s and %s, want %d and %d µs", tc.baud, l.char, l.quiet(), tc.char, tc.interval)
		}
	}
}

// The examples of the specification (V1.1b3, sections 6.1 to 6.4): what is asked and what is answered.
func TestExamplesOfTheSpecification(t *testing.T) {
	for _, tc := range []struct {
		query             query
		request, response string
		data              string
	}{
		{query{readCoils, 19, 19}, "01 00 13 00 13", "01 03 cd 6b 05", "cd 6b 05"},
		{query{readDiscrete, 196, 22}, "02 00 c4 00 16", "02 03 ac db 35", "ac db 35"},
		{query{readHolding, 107, 3}, "03 00 6b 00 03", "03 06 02 2b 00 00 00 64", "02 2b 00 00 00 64"},
		{query{readInput, 8, 1}, "04 00 08 00 01", "04 02 00 0a", "00 0a"},
	} {
		if got := tc.query.pdu(); !bytes.Equal(got, bytesOf(tc.request)) {
			t.Errorf("%s: asks % x, want %s", tc.query, got, tc.request)
		}
		got, err := tc.query.data(bytesOf(tc.response))
		if !bytes.Equal(got, bytesOf(tc.data)) || err != nil {
			t.Errorf("%s: % x, %v; want %s", tc.query, got, err, tc.data)
		}
		for n := range len(bytesOf(tc.response)) {
			if got, err := tc.query.data(bytesOf(tc.response)[:n]); err == nil {
				t.Errorf("%s: % x of %d bytes", tc.query, got, n)
			}
		}
	}
	if _, err := (query{readCoils, 0x04a1, 1}).data(bytesOf("81 02")); !errors.Is(err, ExceptionError(2)) { // section 7
		t.Errorf("the exception: %v", err)
	}
}

// What may come before and after an answer.
func TestAnswersInCompany(t *testing.T) {
	good := func(frame []byte) []byte { return rtuFrame(frame[0], memory(frame[1:6])) }
	const soon, later = 20 * time.Millisecond, 300 * time.Millisecond
	tests := map[string]func(w *wire, frame []byte){
		"at once":               func(w *wire, f []byte) { w.send(soon, good(f)) },
		"just in time":          func(w *wire, f []byte) { w.send(999*time.Millisecond, good(f)) },
		"byte by byte":          func(w *wire, f []byte) { dribble(w, good(f)) },
		"its echo before":       func(w *wire, f []byte) { w.send(0, f); w.send(later, good(f)) },
		"its echo in one piece": func(w *wire, f []byte) { w.send(soon, append(f, good(f)...)) },
		"a glitch before":       func(w *wire, f []byte) { w.send(0, []byte{0}); w.send(later, good(f)) },
		"a glitch and its echo": func(w *wire, f []byte) { w.send(0, append([]byte{0, 1}, f...)); w.send(later, good(f)) },
		"noise before":          func(w *wire, f []byte) { w.send(soon, append(bytesOf("01 03 ff 00 01"), good(f)...)) },
		"noise behind":          func(w *wire, f []byte) { w.send(soon, append(good(f), 0xff, 0)) },
		"another unit before":   func(w *wire, f []byte) { w.send(0, rtuFrame(9, memory(f[1:6]))); w.send(soon, good(f)) },
		"a late answer before": func(w *wire, f []byte) {
			w.send(0, rtuFrame(f[0], memory(bytesOf("03 00 00 00 07"))))
			w.send(soon, good(f))
		},
		"an interrupted exchange": func(w *wire, f []byte) { w.send(0, good(f)[:4]); w.send(later, good(f)) },
	}
	for name, unit := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire(unit)
				s := open(t, serialConfig(w, 1, holding("a_volts", 258), holding("b_volts", 259)), machine(t))
				got, err := valuesOf(t.Context(), s)
				if !slices.Equal(got, []float64{258, 259}) || err != nil || len(w.frames) != 1 {
					t.Errorf("got %v, %v with %d requests", got, err, len(w.frames))
				}
				_ = s.Halt()
			})
		})
	}
}

// dribble sends a byte each character time, as a port without a buffer hands them over.
func dribble(w *wire, b []byte) {
	for i := range b {
		w.send(time.Duration(i+20)*time.Millisecond, b[i:i+1])
	}
}

// The echo of this request has the form of an answer to it, checksum included.
func TestEchoIsNotAnAnswer(t *testing.T) {
	q := query{readCoils, 0x0305, 20}
	frame := rtuFrame(1, q.pdu())
	if pdu, ok := intact(frame, 1); !ok || len(pdu) != 5 {
		t.Fatal("the request does not look like an answer, so this test would prove nothing")
	}
	e := &ear{unit: 1, query: q, echo: frame}
	if data, found, err := e.hear(frame); found {
		t.Errorf("the echo gave % x, %v", data, err)
	}
	if data, found, err := e.hear(rtuFrame(1, bytesOf("01 03 01 02 03"))); !found || err != nil || !bytes.Equal(data, []byte{1, 2, 3}) {
		t.Errorf("the answer gave % x, %t, %v", data, found, err)
	}
}

// A damaged answer costs the silence behind it, not the whole wait, and is asked for again when the unit answered before.
func TestDamagedAnswerIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		w := newWire(func(w *wire, f []byte) {
			b := rtuFrame(f[0], memory(f[1:6]))
			if n++; n == 2 {
				b[3] ^= 0x10
			}
			w.send(20*time.Millisecond, b)
		})
		s := open(t, serialConfig(w, 1, holding("a_volts", 5)), machine(t))
		for range 2 {
			if got, err := valuesOf(t.Context(), s); !slices.Equal(got, []float64{5}) || err != nil {
				t.Errorf("got %v, %v", got, err)
			}
		}
		if took := w.sent[2].Sub(w.sent[1]); n != 3 || took != 20*time.Millisecond+endOfFrame+4010415*time.Nanosecond {
			t.Errorf("%d requests, the last one %s after the damaged one", n, took)
		}
		_ = s.Halt()
	})
}

// A line on which somebody talks without end costs no more than it takes to notice.
func TestBabble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(func(w *wire, _ []byte) {
			for i := range 500 {
				w.send(time.Duration(i)*time.Millisecond, make([]byte, 64))
			}
		})
		s := open(t, serialConfig(w, 1, holding("a_volts", 5)), machine(t))
		began := time.Now()
		if _, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrChecksum) || time.Since(began) > 30*time.Millisecond {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		_ = s.Halt()
		time.Sleep(time.Second)
	})
}

// Between an answer and the next request the line is silent for 3.5 characters, or for request_gap.
func TestSilenceBetweenRequests(t *testing.T) {
	for gap, want := range map[int]time.Duration{0: 4010415 * time.Nanosecond, 100: 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			w := answering(20 * time.Millisecond)
			c := serialConfig(w, 1, holding("a_volts", 5), holding("b_volts", 50))
			c.RequestGap = millis(gap)
			began := time.Now()
			s := open(t, c, machine(t))
			if _, err := s.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			if first, second := w.sent[0].Sub(began), w.sent[1].Sub(w.sent[0]); first != want || second != 20*time.Millisecond+want {
				t.Errorf("gap %d ms: requests after %s and %s, want %s and that behind the answer", gap, first, second, want)
			}
			_ = s.Halt()
		})
	}
}

// What came too late is not taken for the answer to the next request.
func TestLateAnswerIsThrownAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		w := newWire(func(w *wire, f []byte) {
			after := 20 * time.Millisecond
			if n++; n == 1 {
				after = 1500 * time.Millisecond
			}
			w.send(after, rtuFrame(f[0], memory(f[1:6])))
		})
		hw := machine(t)
		a, b := open(t, serialConfig(w, 1, holding("a_volts", 5)), hw), open(t, serialConfig(w, 1, holding("b_volts", 6)), hw)
		if _, err := a.Read(t.Context()); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("the slow answer: %v", err)
		}
		if _, err := b.Read(t.Context()); !errors.Is(err, sensors.ErrTimeout) || n != 1 {
			t.Errorf("while it is still to come: %v, %d requests", err, n)
		}
		time.Sleep(time.Second)
		if got, err := valuesOf(t.Context(), b); !slices.Equal(got, []float64{6}) || err != nil {
			t.Errorf("after it came: %v, %v", got, err)
		}
		_, _ = a.Halt(), b.Halt()
	})
}

// A port that broke is opened again with the next request.
func TestAdapterPluggedInAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wires []*wire
		c := serialConfig(nil, 1, holding("a_volts", 5))
		c.ports.serial = func(address) (serialPort, error) {
			wires = append(wires, answering(20*time.Millisecond))
			return wires[len(wires)-1], nil
		}
		s := open(t, c, machine(t))
		for i := range 3 {
			if got, err := valuesOf(t.Context(), s); !slices.Equal(got, []float64{5}) || err != nil {
				t.Errorf("reading %d: %v, %v", i, got, err)
			}
			wires[len(wires)-1].fail(0, errors.New("unplugged"))
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if len(wires) != 3 {
			t.Errorf("opened %d times", len(wires))
		}
		_ = s.Halt()
	})
}

// Whatever comes over the line, there is data of the right size, an exception, or nothing yet; and none of it but from an intact frame.
func FuzzRTU(f *testing.F) {
	f.Add(byte(1), byte(3), uint16(107), uint8(3), rtuFrame(1, bytesOf("03 06 02 2b 00 00 00 64")))
	f.Add(byte(1), byte(1), uint16(0x305), uint8(20), rtuFrame(1, query{readCoils, 0x305, 20}.pdu()))
	f.Add(byte(1), byte(4), uint16(0), uint8(1), rtuFrame(1, bytesOf("84 02")))
	f.Add(byte(17), byte(3), uint16(0), uint8(1), bytesOf("11 03 ff"))
	f.Fuzz(func(t *testing.T, unit, function byte, at uint16, count uint8, came []byte) {
		q := query{function&3 + 1, int(at), int(count)%maxRegisters + 1}
		e := &ear{unit: unit, query: q, echo: rtuFrame(unit, q.pdu())}
		for i := range came {
			data, found, err := e.hear(came[i : i+1])
			if !found {
				continue
			}
			var x ExceptionError
			if err == nil && len(data) != q.size() || err != nil && !errors.As(err, &x) {
				t.Errorf("%s: % x, %v", q, data, err)
			}
			return
		}
		if err := e.verdict(time.Second); !errors.Is(err, sensors.ErrTimeout) && !errors.Is(err, sensors.ErrChecksum) {
			t.Errorf("verdict: %v", err)
		}
	})
}
