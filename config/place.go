package config

import (
	"fmt"

	"iotagent/sensors"
)

// placed is a sensor or a command that has a place of its own.
type placed struct {
	name  string // `the sensor "boiler"`
	typ   string
	at    pos
	place sensors.Place
}

// checkPlace reports a block whose place another one has already, and keeps its place.
func (l *loader) checkPlace(b *block, name, typ string, place sensors.Place) {
	this := placed{name: name, typ: typ, at: b.t.at, place: place}
	for _, first := range l.taken {
		if why := this.place.Clash(this.typ, first.place, first.typ); why != "" {
			b.bad(placeKey(b.t), fmt.Sprintf("%s, and %s, at %s, is there already", why, first.name, first.at.in(this.at.src)))
			break
		}
	}
	l.taken = append(l.taken, this)
}

// placeKey returns the key that says where the sensor is; that it has no such key means that it is where the driver looks by itself.
func placeKey(t *table) string {
	for _, key := range []string{"address", "port", "bus", "pin"} {
		if t.has(key) {
			return key
		}
	}
	return "type"
}
