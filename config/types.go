package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"iotagent/c2d"
	"iotagent/sensors"
)

// The ways of sensors.Common.Thin.
const (
	ThinNone = "none"
	ThinMean = "mean"
)

// decodeSensors fills File.Sensors.
func (l *loader) decodeSensors(d *decoder) {
	types := make([]string, len(l.o.Sensors))
	for i, drv := range l.o.Sensors {
		types[i] = drv.Type
	}
	decodeBlocks(l, d, "sensor", l.sensors, types,
		func(i int) sensors.Config { return l.o.Sensors[i].New() },
		func(b *block, common sensors.Common, cfg sensors.Config) {
			checkSensor(b, &common)
			if l.file.Telemetry.Format == FormatSenML {
				checkSenML(b, &common)
			}
			if p, ok := cfg.(sensors.Placed); ok {
				l.checkPlace(b, fmt.Sprintf("the sensor %q", common.Name), common.Type, p.Place())
			}
			line, _ := b.t.at.src.position(b.t.at.off)
			l.file.Sensors = append(l.file.Sensors, Sensor{Common: common, Config: cfg, File: b.t.at.src.name, Line: line})
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
	if !b.t.has("thin") {
		c.Thin = ThinNone
	}
	if ways := []string{ThinNone, ThinMean}; !slices.Contains(ways, c.Thin) {
		b.bad("thin", choice(ways, c.Thin))
	}
	checkSampling(b, c)
}

// checkSenML checks what SenML does not allow.
func checkSenML(b *block, c *sensors.Common) {
	if c.Thin == ThinMean {
		b.bad("thin", `thins readings in telemetry.format = "json" only, and the format is "senml"`)
	}
	if c.Name != "" && strings.IndexByte("-_.", c.Name[0]) >= 0 {
		b.bad("name", `has to begin with a letter or a digit, because it begins names in telemetry.format = "senml" (RFC 8428 §4.5.1)`)
	}
}

// decodeCommands fills File.Commands.
func (l *loader) decodeCommands(d *decoder) {
	types := make([]string, len(l.o.Commands))
	for i, typ := range l.o.Commands {
		types[i] = typ.Name
	}
	decodeBlocks(l, d, "command", l.commands, types,
		func(i int) c2d.Config { return l.o.Commands[i].New() },
		func(b *block, common c2d.Common, cfg c2d.Config) {
			if p, ok := cfg.(c2d.Placed); ok && p.Line() != "" {
				l.checkPlace(b, fmt.Sprintf("the command %q", common.Name), common.Type, sensors.Place{Line: p.Line()})
			}
			b.within("timeout", &common.Timeout, 30*time.Second, time.Millisecond, 0)
			b.within("settle_within", &common.SettleWithin, 10*time.Second, time.Millisecond, maxSettleWithin)
			line, _ := b.t.at.src.position(b.t.at.off)
			l.file.Commands = append(l.file.Commands, Command{Common: common, Config: cfg, File: b.t.at.src.name, Line: line})
		})
}
