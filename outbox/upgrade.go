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
	takenName     = oldName + ".taken"
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

// upgrade runs before anything else is looked at. A crash before control.db stands leaves the old file, under its own name or that of one
// taken over: then it begins again.
func (l *loader) upgrade() error {
	path, taken := filepath.Join(l.dir, oldName), filepath.Join(l.dir, takenName)
	if there, err := exists(filepath.Join(l.dir, controlName)); err != nil {
		return err
	} else if there {
		return l.afterUpgrade(path, taken)
	}
	for _, from := range []string{path, taken} {
		there, err := exists(from)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if l.opt.ReadOnly {
			return fmt.Errorf("%s: written by an earlier version: start the daemon once, it takes it over", from)
		}
		if err := l.takeOver(from, taken); err != nil {
			return fmt.Errorf("take over %s: %w", from, err)
		}
		return errors.Join(removeIfThere(taken), durable.SyncDir(l.dir))
	}
	return nil
}

// afterUpgrade removes what was taken over. An old file beside a control.db is the work of an earlier version that ran again since: nobody
// reads two queues, so it is set aside, and that is declared.
func (l *loader) afterUpgrade(path, taken string) error {
	there, err := exists(path)
	if err != nil || l.opt.ReadOnly {
		return err
	}
	if there {
		l.opt.Logger.Error("outbox of an earlier version beside the present one: it is set aside and not read", "file", path)
		l.d.losses = append(l.d.losses, nobodyKnows())
		if err := errors.Join(keepAside(path, l.opt.Now()), os.Remove(path), durable.SyncDir(l.dir)); err != nil {
			return err
		}
	}
	return removeIfThere(taken)
}

func (l *loader) takeOver(from, taken string) error {
	old, err := l.opt.OpenFile(from, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }() // only read from
	u := &upgrader{l: l, old: old, taken: taken, runs: map[uint64]uint32{}, epochs: map[uint32]uint64{}, state: &state{}}
	if err := u.run(); err != nil {
		return err
	}
	l.opt.Logger.Info("outbox of an earlier version taken over", "dir", l.dir, "messages", u.messages, "gaps", len(u.gaps), "dead_letters", len(u.letters))
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

type upgrader struct {
	l      *loader
	old    *os.File
	taken  string
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

// commit makes control.db, complete or not at all. Before it stands, the old file has the name of one that was taken over.
func (u *upgrader) commit() error {
	path := filepath.Join(u.l.dir, controlName)
	c, err := openControl(path+tmpSuffix, u.l.opt)
	if err != nil {
		return err
	}
	_, err = c.commit(&wish{state: u.state.encode(), gaps: u.gaps, segs: u.segs, bury: u.letters})
	if err = errors.Join(err, c.close()); err != nil {
		return err
	}
	if err := os.Rename(u.old.Name(), u.taken); err != nil {
		return err
	}
	if err := os.Rename(path+tmpSuffix, path); err != nil {
		return err
	}
	return durable.SyncDir(u.l.dir)
}
