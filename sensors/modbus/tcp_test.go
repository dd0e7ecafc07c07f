package modbus

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/sensors"
)

func TestTCPFrames(t *testing.T) {
	if got := tcpFrame(1, 1, query{readHolding, 0, 2}.pdu()); !bytes.Equal(got, bytesOf("00 01 00 00 00 06 01 03 00 00 00 02")) {
		t.Errorf("request: % x", got)
	}
	for text, want := range map[string]tcpAnswer{
		"00 01 00 00 00 07 01 03 04 41 bc 00 00": {1, 1, bytesOf("03 04 41 bc 00 00")},
		"12 34 00 00 00 03 ff 83 02":             {0x1234, 255, bytesOf("83 02")},
	} {
		got, err := readTCP(bytes.NewReader(bytesOf(text)))
		if err != nil || got.transaction != want.transaction || got.unit != want.unit || !bytes.Equal(got.pdu, want.pdu) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

// A connection that breaks or goes out of step between two readings costs nothing but a new one.
func TestConnectionIsMadeAnew(t *testing.T) {
	tests := map[string]server{
		"hangs up after each answer": func(_, n int, f []byte) []byte {
			if n > 0 {
				return nil
			}
			return fromMemory(0, n, f)
		},
		"answers with something else": func(conn, n int, f []byte) []byte {
			if n > 0 {
				return []byte("HTTP/1.1 400 Bad Request\r\n\r\n")
			}
			return fromMemory(conn, n, f)
		},
	}
	for name, s := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := open(t, tcpConfig(s, 1, holding("a_volts", 5)), machine(t))
				began := time.Now()
				for i := range 4 {
					if got, err := valuesOf(t.Context(), d); !slices.Equal(got, []float64{5}) || err != nil {
						t.Errorf("reading %d: %v, %v", i, got, err)
					}
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("took %s", took)
				}
				_ = d.Halt()
			})
		})
	}
}

// An answer that comes late is known by its number, and the next request gets its own.
func TestLateAnswerOverTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late []byte
		conns := 0
		s := server(func(conn, n int, f []byte) []byte {
			conns = conn + 1
			if b := fromMemory(conn, n, f); n > 0 {
				return append(late, b...)
			} else {
				late = b
			}
			return []byte{}
		})
		d := open(t, tcpConfig(s, 1, holding("a_volts", 5)), machine(t))
		if _, err := d.Read(t.Context()); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("no answer: %v", err)
		}
		time.Sleep(time.Second)
		if got, err := valuesOf(t.Context(), d); !slices.Equal(got, []float64{5}) || err != nil || conns != 1 {
			t.Errorf("the next: %v, %v over %d connections", got, err, conns)
		}
		_ = d.Halt()
	})
}

// A controller that lost its power does not say so: after two requests without an answer there is a new connection.
func TestPowerCycledController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns := 0
		s := server(func(conn, n int, f []byte) []byte {
			conns = conn + 1
			if conn == 0 && n > 0 {
				return []byte{}
			}
			return fromMemory(conn, n, f)
		})
		d := open(t, tcpConfig(s, 1, holding("a_volts", 5)), machine(t))
		for i, ok := range []bool{true, false, true} {
			got, err := valuesOf(t.Context(), d)
			if (err == nil) != ok || ok && !slices.Equal(got, []float64{5}) {
				t.Errorf("reading %d: %v, %v", i, got, err)
			}
			time.Sleep(2 * time.Second)
		}
		if conns != 2 {
			t.Errorf("%d connections", conns)
		}
		_ = d.Halt()
	})
}

// A unit that leaves out an answer now and then is no dead connection.
func TestSilenceNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns := 0
		s := server(func(conn, n int, f []byte) []byte {
			conns = conn + 1
			if n%3 == 1 {
				return []byte{}
			}
			return fromMemory(conn, n, f)
		})
		d := open(t, tcpConfig(s, 1, holding("a_volts", 5)), machine(t))
		for i := range 10 {
			if got, err := valuesOf(t.Context(), d); err != nil || !slices.Equal(got, []float64{5}) {
				t.Errorf("reading %d: %v, %v", i, got, err)
			}
		}
		if conns != 1 {
			t.Errorf("%d connections", conns)
		}
		_ = d.Halt()
	})
}

// Over a real socket: many sensors of many units share one connection, and a unit that hangs up in the middle of an answer harms nobody.
func TestLoopback(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	conns := 0
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := conns
			conns++
			wg.Go(func() {
				server(func(_, i int, f []byte) []byte {
					if n == 0 && i == 100 {
						return nil
					}
					return fromMemory(n, i, f)
				}).serve(n, c)
			})
		}
	})
	hw := sensors.NewHardware("/", nil)
	var readers sync.WaitGroup
	for i := range 50 {
		readers.Go(func() {
			c := unitWith(holding("a_volts", i), holding("b_volts", 1000+i))
			c.Host, c.Unit, c.ResponseTimeout = l.Addr().String(), i, millis(30_000)
			s, err := c.Open(t.Context(), hw)
			if err != nil {
				t.Error(err)
				return
			}
			for range 10 {
				if got, err := valuesOf(t.Context(), s); !slices.Equal(got, []float64{float64(i), float64(1000 + i)}) || err != nil {
					t.Errorf("unit %d: %v, %v", i, got, err)
				}
			}
			if err := s.Halt(); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	if err := errors.Join(hw.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func TestRefusedConnection(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t.Context(), host); !errors.Is(err, sensors.ErrAbsent) {
		t.Errorf("dial: %v, want ErrAbsent", err)
	}
}

// Whatever comes over a connection, there is a frame within the limits or an error; and its data has the size that was asked for.
func FuzzTCP(f *testing.F) {
	f.Add(byte(3), uint8(2), bytesOf("00 01 00 00 00 07 01 03 04 41 bc 00 00"))
	f.Add(byte(1), uint8(1), bytesOf("00 01 00 00 00 03 01 81 02"))
	f.Add(byte(4), uint8(1), bytesOf("00 01 00 00 ff ff 01 04 02"))
	f.Fuzz(func(t *testing.T, function byte, count uint8, came []byte) {
		q := query{function&3 + 1, 0, int(count)%maxRegisters + 1}
		for r := bytes.NewReader(came); ; {
			a, err := readTCP(r)
			if err != nil {
				if r.Len() == len(came) && len(came) > 0 {
					t.Errorf("%v, and nothing was read", err)
				}
				return
			}
			if len(a.pdu) < 1 || len(a.pdu) > maxPDU {
				t.Errorf("%d bytes", len(a.pdu))
			}
			if data, err := q.data(a.pdu); err == nil && len(data) != q.size() {
				t.Errorf("%s: % x", q, data)
			}
		}
	})
}
