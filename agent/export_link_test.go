package agent

import (
	"context"
	"log/slog"
	"time"

	"iotagent/internal/clock"
	"iotagent/iothub"
)

// What the tests of the link and of metering look at.

// Metered counts what the hub meters.
type Metered struct{ m *metered }

func NewMetered(c *clock.Clock, path string, log *slog.Logger) Metered {
	return Metered{newMetered(c, path, log)}
}

func (m Metered) Add(sizes ...int) { m.m.add(sizes...) }

func (m Metered) Now() (today, total Metering) { return m.m.now() }

func (m Metered) Save(clean bool) { m.m.save(clean) }

func (m Metered) Watch(ctx context.Context) { m.m.watch(ctx) }

func ParseMeterFile(text []byte) (Metering, error) {
	f, err := parseMeterFile(text)
	if err != nil {
		return Metering{}, err
	}
	return f.Metering, nil
}

// SetHealth puts f between the agent's clients and what the agent knows of them; it is called before Run.
func (a *Agent) SetHealth(f func(iothub.Status) iothub.Status) {
	a.link.health = func(c *iothub.Client) iothub.Status { return f(c.Status()) }
}

// Line is what the service manager shows of the link.
func (s *LinkStatus) Line(zone *time.Location) string { return s.line(zone) }
