package config

import (
	"slices"
	"time"

	"iotagent/c2d"
	"iotagent/sensors"
)

// decodeSensors fills File.Sensors.
func (l *loader) decodeSensors(d *decoder) {
	types := make([]string, len(l.o.Sensors))
	for i, drv := range l.o.Sensors {
		types[i] = drv.Type
	}
	pick := func(typ string) configured { return l.o.Sensors[slices.Index(types, typ)].New() }
	l.list(d, "sensor", l.sensors, types, pick,
		func() any { return &sensors.Common{} },
		func(b *block, common any, cfg configured) {
			s := Sensor{Common: *common.(*sensors.Common), Config: cfg.(sensors.Config)}
			s.File = b.t.at.src.name
			s.Line, _ = b.t.at.src.position(b.t.at.off)
			checkSensor(b, &s.Common)
			l.file.Sensors = append(l.file.Sensors, s)
		})
}

func checkSensor(b *block, c *sensors.Common) {
	b.within("interval", &c.Interval, 10*time.Second, minInterval, 0)
	b.within("timeout", &c.Timeout, min(5*time.Second, c.Interval.Duration), time.Millisecond, 0)
	if !b.t.has("lane") {
		c.Lane = "normal"
	}
	if lanes := []string{"normal", "bulk"}; !slices.Contains(lanes, c.Lane) {
		b.bad("lane", choice(lanes, c.Lane))
	}
}

// decodeCommands fills File.Commands.
func (l *loader) decodeCommands(d *decoder) {
	types := make([]string, len(l.o.Commands))
	for i, typ := range l.o.Commands {
		types[i] = typ.Name
	}
	pick := func(typ string) configured { return l.o.Commands[slices.Index(types, typ)].New() }
	l.list(d, "command", l.commands, types, pick,
		func() any { return &c2d.Common{} },
		func(b *block, common any, cfg configured) {
			c := Command{Common: *common.(*c2d.Common), Config: cfg.(c2d.Config)}
			c.File = b.t.at.src.name
			c.Line, _ = b.t.at.src.position(b.t.at.off)
			b.within("timeout", &c.Timeout, 30*time.Second, time.Millisecond, 0)
			b.within("settle_within", &c.SettleWithin, 10*time.Second, time.Millisecond, maxSettleWithin)
			l.file.Commands = append(l.file.Commands, c)
		})
}
