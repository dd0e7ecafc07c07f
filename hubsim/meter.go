package hubsim

import "time"

// meterUnit is what IoT Hub counts a message of telemetry in, on its paid tiers ("Azure IoT Hub pricing information").
const meterUnit = 4096

// meter counts what a device's messages use of the day's quota, which begins anew at midnight UTC. It starts at 0 with the program.
type meter struct {
	day   time.Time
	units int
}

func (m *meter) today(now time.Time) *meter {
	if day := now.UTC().Truncate(24 * time.Hour); !day.Equal(m.day) {
		*m = meter{day: day}
	}
	return m
}

// units returns what a message of a size is counted as.
func units(size int) int { return max(1, (size+meterUnit-1)/meterUnit) }

// Metered returns how many units of 4 KiB the accepted messages of a device, or of a module as "DEVICE/MODULE", have used today; each message of a batch
// counts by itself.
func (s *Server) Metered(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d == nil {
		return 0
	}
	return d.metered.today(s.opts.Now()).units
}
