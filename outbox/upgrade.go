package outbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"iotagent/internal/durable"
	"iotagent/outbox/internal/boltfile"
	"iotagent/outbox/internal/segment"
)

// The first format was one bbolt file, outbox.db: meta {format, state}, queue {lane u8 | position u64 → record}, epochs {lane |
// first position → epoch}, dead {number → letter}. A record was CRC-32C over key and rest, version 1, flags, epoch, seq, readings u32, put time in
// ns, body; a letter CRC-32C, version 1, time in ns, key, reason length u16, reason, record. upgrade takes over what is in such a file, ids and
// order included, and removes it.
const (
	oldName       = "outbox.db"
	oldHeader     = 4 + 1 + 1 + 8 + 8 + 4 + 8
	oldDeadHeader = 4 + 1 + 8 + 9 + 2
	oldGap        = 1 << 0
	oldDurable    = 1 << 1
)

type oldRecord struct {
	id       ID
	flags    byte
	readings uint32
	put      int64 // ns
	body     []byte
}

func decodeOld(k, v []byte) (r oldRecord, ok bool) {
	if len(k) != 9 || k[0] >= lanes || len(v) < oldHeader || v[4] != 1 ||
		binary.BigEndian.Uint32(v) != checksum(slices.Concat(k, v[4:])) {
		return r, false
	}
	return oldRecord{
		id:    ID{Lane: Lane(k[0]), Epoch: binary.BigEndian.Uint64(v[6:]), Seq: binary.BigEndian.Uint64(v[14:])},
		flags: v[5], readings: binary.BigEndian.Uint32(v[22:]), put: int64(binary.BigEndian.Uint64(v[26:])), body: v[oldHeader:],
	}, true
}

func decodeOldDead(v []byte) (d DeadLetter, ok bool) {
	if len(v) < oldDeadHeader || v[4] != 1 || binary.BigEndian.Uint32(v) != checksum(v[4:]) {
		return d, false
	}
	n := int(binary.BigEndian.Uint16(v[22:]))
	if oldDeadHeader+n > len(v) {
		return d, false
	}
	r, ok := decodeOld(v[13:22], v[oldDeadHeader+n:])
	if !ok {
		return d, false
	}
	d = DeadLetter{
		ID: r.id, Readings: int(r.readings), Reason: string(v[oldDeadHeader : oldDeadHeader+n]), Put: time.Unix(0, r.put),
		At: time.Unix(0, int64(binary.BigEndian.Uint64(v[5:]))),
	}
	if r.flags&oldGap == 0 {
		d.Body = r.body
		return d, true
	}
	d.Gap = new(Gap)
	return d, json.Unmarshal(r.body, d.Gap) == nil
}

// upgrade runs before anything else is looked at. A crash in the middle leaves no control.db: then it begins again.
func (l *loader) upgrade() error {
	path := filepath.Join(l.dir, oldName)
	old, err := l.opt.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }() // only read from
	if l.opt.ReadOnly {
		return fmt.Errorf("%s: written by an earlier version: start the daemon once, it takes it over", path)
	}
	if _, err := os.Stat(filepath.Join(l.dir, controlName)); errors.Is(err, fs.ErrNotExist) {
		u := &upgrader{l: l, old: old, runs: map[uint64]uint32{}, epochs: map[uint32]uint64{}, state: &state{}}
		if err := u.run(); err != nil {
			return fmt.Errorf("take over %s: %w", path, err)
		}
		l.opt.Logger.Info("outbox of an earlier version taken over", "dir", l.dir, "messages", u.messages, "gaps", len(u.gaps), "dead_letters", len(u.letters))
	} else if err != nil {
		return err
	}
	return errors.Join(os.Remove(path), durable.SyncDir(l.dir))
}

type upgrader struct {
	l      *loader
	old    *os.File
	runs   map[uint64]uint32
	epochs map[uint32]uint64

	state    *state
	out      *seg
	segs     map[string][]byte
	gaps     map[string][]byte
	letters  []letter
	pending  [segment.Lanes][]segment.Record
	size     int64
	last     uint64 // the place that was taken last
	bad      int
	messages int
}

func (u *upgrader) run() error {
	info, err := u.old.Stat()
	if err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(u.l.dir, "*"+segSuffix))
	if err != nil {
		return err
	}
	for _, n := range append(names, filepath.Join(u.l.dir, controlName+tmpSuffix)) { // of a try before a crash
		if err := removeIfThere(n); err != nil {
			return err
		}
	}
	u.segs, u.gaps = map[string][]byte{}, map[string][]byte{}
	for _, pass := range []func(bucket string, k, v []byte) error{u.numberRuns(), u.take} {
		u.bad = 0
		if err := boltfile.Walk(u.old, info.Size(), pass, func(error) error { u.bad++; return nil }); err != nil && !boltfile.IsDamage(err) {
			return err
		} else if err != nil {
			u.bad++
		}
	}
	if err := u.flush(); err != nil {
		return err
	}
	if err := u.shut(); err != nil {
		return err
	}
	if u.bad > 0 {
		g := &gapEntry{id: ID{Epoch: newEpoch(), Lane: Normal, Seq: 1}, place: u.last, gap: nobodyKnows().gap, put: u.l.opt.Now().UnixMilli()}
		u.gaps[string(g.key())] = g.encode()
		if err := keepAside(u.old.Name(), u.l.opt.Now()); err != nil {
			return err
		}
	}
	return u.commit()
}

// numberRuns gives the epochs their order. Each lane has them in the order of time; lanes agree where they meet.
func (u *upgrader) numberRuns() func(string, []byte, []byte) error {
	var order []uint64
	at := 0
	lane := -1
	return func(bucket string, k, v []byte) error {
		if bucket != "queue" {
			return nil
		}
		r, ok := decodeOld(k, v)
		if !ok || r.flags&oldGap != 0 {
			return nil
		}
		if int(r.id.Lane) != lane {
			lane, at = int(r.id.Lane), 0
		}
		if i := slices.Index(order, r.id.Epoch); i >= 0 {
			at = i + 1
			return nil
		}
		order = slices.Insert(order, at, r.id.Epoch)
		at++
		for i, e := range order {
			u.runs[e], u.epochs[uint32(i+1)] = uint32(i+1), e
		}
		return nil
	}
}

func (u *upgrader) take(bucket string, k, v []byte) error {
	switch bucket {
	case "queue":
		r, ok := decodeOld(k, v)
		switch {
		case !ok:
			u.bad++
			return nil
		case r.flags&oldGap != 0:
			u.takeGap(&r)
			return nil
		}
		return u.takeRecord(&r)
	case "dead":
		if d, ok := decodeOldDead(v); ok && len(k) == 8 {
			u.letters = append(u.letters, letter{binary.BigEndian.Uint64(k), d.encode()})
		} else {
			u.bad++
		}
	}
	return nil
}

func (u *upgrader) takeGap(r *oldRecord) {
	g := &gapEntry{id: r.id, place: u.last, put: r.put / int64(time.Millisecond)}
	if json.Unmarshal(r.body, &g.gap) != nil {
		u.bad++
		return
	}
	if run := u.runs[g.gap.Epoch]; run != 0 {
		g.place = placeOf(run, g.gap.To)
	}
	u.gaps[string(g.key())] = g.encode()
}

func (u *upgrader) takeRecord(r *oldRecord) error {
	u.last = placeOf(u.runs[r.id.Epoch], r.id.Seq)
	flags := byte(0)
	if r.flags&oldDurable != 0 {
		flags = flagDurable
	}
	u.messages++
	u.pending[r.id.Lane] = append(u.pending[r.id.Lane], segment.Record{
		Pos: u.last, Put: r.put / int64(time.Millisecond), Flags: flags, Readings: r.readings, Body: slices.Clone(r.body),
	})
	if u.size += int64(len(r.body)) + overhead; u.size > u.l.opt.commitBytes() {
		return u.flush()
	}
	return nil
}

func (u *upgrader) flush() error {
	if u.size == 0 {
		return nil
	}
	if u.out != nil && u.out.file.Used() > u.l.opt.segBytes() {
		if err := u.shut(); err != nil {
			return err
		}
	}
	if u.out == nil {
		u.out = &seg{order: uint64(len(u.segs)) + 1, touched: [lanes]bool{true, true, true}}
		var err error
		if u.out.file, err = segment.Create(filepath.Join(u.l.dir, u.out.name()), u.l.seg); err != nil {
			return err
		}
	}
	_, err := u.out.file.Append(&u.pending, func(pos uint64) uint64 { return u.epochs[runOf(pos)] })
	u.pending, u.size = [segment.Lanes][]segment.Record{}, 0
	return err
}

// shut finishes a segment.
func (u *upgrader) shut() error {
	if u.out == nil {
		return nil
	}
	s := u.out
	u.out = nil
	s.summarize(s.file.Summary().Runs)
	u.segs[string(bigEndian(s.order))] = s.encode()
	return errors.Join(s.file.Trim(), s.close())
}

// commit makes control.db, complete or not at all.
func (u *upgrader) commit() error {
	path := filepath.Join(u.l.dir, controlName)
	c, err := openControl(path+tmpSuffix, u.l.opt)
	if err != nil {
		return err
	}
	_, err = c.commit(&wish{state: u.state.encode(), gaps: u.gaps, segs: u.segs, bury: u.letters})
	return errors.Join(err, c.close(), os.Rename(path+tmpSuffix, path), durable.SyncDir(u.l.dir))
}
