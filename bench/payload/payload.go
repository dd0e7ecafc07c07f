// Package payload makes the messages that the benchmarks queue: what iotagent makes of twelve slowly changing sensors, and a
// random worst case that does not compress.
package payload

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// Kind is what the bodies are made of.
type Kind string

// The kinds.
const (
	// Readings is JSON of eight air sensors (three measurements) and four probes (two readings in a message): about 190 bytes.
	Readings Kind = "readings"
	// Random is base64 of random bytes, 199 bytes: nothing but base64 itself to compress.
	Random Kind = "random"
)

// Interval is the time between two messages: ten a second.
const Interval = 100 * time.Millisecond

const (
	sensors    = 12
	airSensors = 8
	timeLayout = "2006-01-02T15:04:05.000Z"
)

// Maker makes one body after the other, the same ones for the same kind.
type Maker struct {
	kind Kind
	rand *rand.Rand
	at   time.Time
	n    int
	air  [airSensors]air
	room [sensors - airSensors]float64
}

type air struct{ celsius, pascals, humidity float64 }

// New returns a maker whose first body is of the time start.
func New(kind Kind, start time.Time) *Maker {
	m := &Maker{kind: kind, rand: rand.New(rand.NewPCG(4, 2026)), at: start} //nolint:gosec // the same bodies in every run, on purpose
	for i := range m.air {
		m.air[i] = air{celsius: 18 + m.rand.Float64()*8, pascals: 100500 + m.rand.Float64()*300, humidity: 35 + m.rand.Float64()*20}
	}
	for i := range m.room {
		m.room[i] = 20 + m.rand.Float64()*40
	}
	return m
}

// Next returns the next body and the time it is of.
func (m *Maker) Next() ([]byte, time.Time) {
	at := m.at.Add(time.Duration(m.rand.IntN(9)) * time.Millisecond)
	body := appendEnvelope(make([]byte, 0, 224), at)
	if m.kind == Random {
		body = m.appendRandom(body)
	} else {
		body = m.appendReadings(body, at)
	}
	m.n++
	m.at = m.at.Add(Interval)
	return body, at
}

// Pool returns n bodies.
func Pool(kind Kind, n int) [][]byte {
	m := New(kind, time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	pool := make([][]byte, n)
	for i := range pool {
		pool[i], _ = m.Next()
	}
	return pool
}

// appendEnvelope writes what the agent puts before the JSON: content type and encoding, no correlation id, the time made, no properties.
func appendEnvelope(b []byte, at time.Time) []byte {
	b = append(b, 1)
	for _, s := range []string{"application/json", "utf-8", ""} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return append(binary.AppendVarint(b, at.UnixMilli()), 0)
}

func (m *Maker) appendReadings(b []byte, at time.Time) []byte {
	i := m.n % sensors
	if i < airSensors {
		return m.appendAir(append(b, '['), i, at)
	}
	b = m.appendProbe(append(b, '['), i, at.Add(-1200*time.Millisecond))
	return append(m.appendProbe(append(b, ','), i, at), ']')
}

// appendAir writes a reading in the steps that the bme280 driver gives: a hundredth of a degree, a tenth of a Pa, a thousandth of a percent.
func (m *Maker) appendAir(b []byte, i int, at time.Time) []byte {
	s := &m.air[i]
	s.celsius = step(s.celsius+m.rand.NormFloat64()*0.01, 100)
	s.pascals = step(s.pascals+m.rand.NormFloat64()*0.3, 10)
	s.humidity = step(s.humidity+m.rand.NormFloat64()*0.02, 1000)
	b = appendHead(b, "air-", i, at)
	b = appendNumber(b, "temperature_celsius", s.celsius)
	b = appendNumber(b, "pressure_pascals", s.pascals)
	return append(appendNumber(b, "humidity_percent", s.humidity), "}]"...)
}

// appendProbe writes a reading in the steps that a DS18B20 has: 1/16 of a degree, cut to a thousandth.
func (m *Maker) appendProbe(b []byte, i int, at time.Time) []byte {
	c := &m.room[i-airSensors]
	*c = step(*c+m.rand.NormFloat64()*0.03, 16)
	shown := math.Trunc(*c*1000) / 1000
	return append(appendNumber(appendHead(b, "probe-", i, at), "temperature_celsius", shown), '}')
}

func appendHead(b []byte, name string, i int, at time.Time) []byte {
	b = append(append(b, `{"sensor":"`...), name...)
	b = strconv.AppendInt(b, int64(i+1), 10)
	b = append(b, `","time":"`...)
	return append(at.UTC().AppendFormat(b, timeLayout), '"')
}

func appendNumber(b []byte, name string, v float64) []byte {
	b = append(append(append(b, `,"`...), name...), `":`...)
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

func step(v, perUnit float64) float64 { return math.Round(v*perUnit) / perUnit }

func (m *Maker) appendRandom(b []byte) []byte {
	var raw [120]byte
	for i := 0; i < len(raw); i += 8 {
		binary.LittleEndian.PutUint64(raw[i:], m.rand.Uint64())
	}
	b = append(b, `{"r":"`...)
	b = base64.StdEncoding.AppendEncode(b, raw[:])
	return append(b, `"}`...)
}
