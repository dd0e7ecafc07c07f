package system

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"iotagent/sensors"
)

// device is the machine whose proc and sys lie in root.
type device struct {
	cfg  *Config
	root string
}

var _ sensors.Sensor = (*device)(nil)

// String names the machine.
func (d *device) String() string {
	host, err := sensors.ReadAttr(d.path("proc/sys/kernel/hostname"))
	if err != nil || host == "" {
		return "system"
	}
	return "system@" + host
}

// Halt does nothing.
func (d *device) Halt() error { return nil }

func (d *device) path(p string) string { return filepath.Join(d.root, p) }

// Read collects what the machine has. Each source gives all of its samples or none.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	var samples []sensors.Sample
	for _, source := range []func() []sensors.Sample{
		d.cpuTemperature, d.load, d.memory, d.disks, d.network, d.uptime,
	} {
		if err := sensors.Expired(ctx); err != nil {
			return nil, fmt.Errorf("system: %w", err)
		}
		samples = append(samples, source()...)
	}
	if len(samples) == 0 {
		return nil, fmt.Errorf("system: nothing below %s could be read; is /proc hidden from this user? %w", d.root, sensors.ErrAbsent)
	}
	return samples, nil
}

// load reads /proc/loadavg: "0.24 0.38 0.41 2/127 8094".
func (d *device) load() []sensors.Sample {
	text, err := sensors.ReadAttr(d.path("proc/loadavg"))
	fields := strings.Fields(text)
	if err != nil || len(fields) < 3 {
		return nil
	}
	var samples []sensors.Sample
	for i, name := range []string{"load_1m", "load_5m", "load_15m"} {
		v, ok := number(fields[i])
		if !ok {
			return nil
		}
		samples = append(samples, sensors.Sample{Name: name, Value: v})
	}
	return samples
}

// memory reads /proc/meminfo: "MemTotal:       24684096 kB".
func (d *device) memory() []sensors.Sample {
	text, err := sensors.ReadAttr(d.path("proc/meminfo"))
	if err != nil {
		return nil
	}
	kib := map[string]float64{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		if v, ok := number(f[1]); ok {
			kib[f[0]] = v
		}
	}
	total, ok := kib["MemTotal:"]
	available, ok2 := kib["MemAvailable:"]
	if !ok || !ok2 || total <= 0 || available > total {
		return nil
	}
	return []sensors.Sample{
		{Name: "memory_total_bytes", Value: total * 1024},
		{Name: "memory_available_bytes", Value: available * 1024},
		{Name: "memory_used_bytes", Value: (total - available) * 1024},
	}
}

// disks asks the file system of each path.
func (d *device) disks() []sensors.Sample {
	var samples []sensors.Sample
	for _, p := range d.cfg.Paths {
		var st unix.Statfs_t
		if err := unix.Statfs(d.path(p), &st); err != nil || st.Blocks == 0 || st.Bfree > st.Blocks {
			continue
		}
		block := float64(st.Frsize) // the unit of the counts; Bsize is the size for best transfers
		if block <= 0 {
			block = float64(st.Bsize)
		}
		samples = append(samples,
			sensors.Sample{Name: diskName(p, "used"), Value: float64(st.Blocks-st.Bfree) * block},
			sensors.Sample{Name: diskName(p, "free"), Value: float64(st.Bavail) * block},
		)
	}
	return samples
}

// uptime reads /proc/uptime: "5123.41 9876.54".
func (d *device) uptime() []sensors.Sample {
	text, err := sensors.ReadAttr(d.path("proc/uptime"))
	if err != nil {
		return nil
	}
	first, _, _ := strings.Cut(text, " ")
	v, ok := number(first)
	if !ok {
		return nil
	}
	return []sensors.Sample{{Name: "uptime_seconds", Value: v}}
}

// number reads a decimal number that cannot be negative.
func number(text string) (float64, bool) {
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil && v >= 0 && !math.IsInf(v, 0)
}
