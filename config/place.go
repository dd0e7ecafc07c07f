package config

import (
	"fmt"

	"iotagent/sensors"
)

// placed is a sensor that has a place of its own, on a bus or a GPIO line.
type placed struct {
	sensor string
	typ    string
	at     pos
	place  sensors.Place
}

// checkPlace reports a sensor whose place another one has already, and returns the places with this one's.
func checkPlace(b *block, c *sensors.Common, cfg sensors.Config, taken []placed) []placed {
	p, ok := cfg.(sensors.Placed)
	if !ok {
		return taken
	}
	this := placed{sensor: c.Name, typ: c.Type, at: b.t.at, place: p.Place()}
	for _, first := range taken {
		if why := this.place.Clash(this.typ, first.place, first.typ); why != "" {
			b.bad(placeKey(b.t), fmt.Sprintf("%s, and the sensor %q, at %s, is there already", why, first.sensor, first.at.in(this.at.src)))
			break
		}
	}
	return append(taken, this)
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
