package system

import (
	"context"
	"errors"
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

// Read collects what the machine has. Each source gives all of its samples or none; what the configuration names and is not there is told.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	var samples []sensors.Sample
	var missing []error
	for _, source := range []func() ([]sensors.Sample, []error){
		own(d.cpuTemperature), own(d.load), own(d.memory), d.disks, d.network, own(d.uptime),
	} {
		if err := sensors.Expired(ctx); err != nil {
			return nil, fmt.Errorf("system: %w", err)
		}
		s, m := source()
		samples, missing = append(samples, s...), append(missing, m...)
	}
	if len(samples)+len(missing) == 0 {
		return nil, fmt.Errorf("system: nothing below %s could be read; is /proc hidden from this user? %w", d.root, sensors.ErrAbsent)
	}
	samples, err := sensors.Incomplete(samples, missing)
	if err != nil {
		return samples, fmt.Errorf("system: %w", err)
	}
	return samples, nil
}

// own is a source of what a machine may lack, without anybody having asked for it.
func own(source func() []sensors.Sample) func() ([]sensors.Sample, []error) {
	return func() ([]sensors.Sample, []error) { return source(), nil }
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
func (d *device) disks() (samples []sensors.Sample, missing []error) {
	for _, p := range d.cfg.Paths {
		var st unix.Statfs_t
		err := unix.Statfs(d.path(p), &st)
		if err == nil && (st.Blocks == 0 || st.Bfree > st.Blocks) {
			err = errors.New("its file system does not say how large it is")
		}
		if err != nil {
			missing = append(missing, fmt.Errorf("disk %s: %w", p, err))
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
	return samples, missing
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
