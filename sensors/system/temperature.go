package system

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"iotagent/sensors"
)

// cpuTemperature is the hottest sensor of the processor. Zones of the board, the battery or the radio do not count; neither does acpitz,
// which on many machines is a constant.
func (d *device) cpuTemperature() []sensors.Sample {
	milli := d.thermalZones()
	if len(milli) == 0 {
		milli = d.hwmon()
	}
	if len(milli) == 0 {
		return nil
	}
	return []sensors.Sample{{Name: "cpu_temperature_celsius", Value: float64(slices.Max(milli)) / 1000}}
}

// thermalZones reads /sys/class/thermal/thermal_zone*/temp of the zones whose type names the processor.
func (d *device) thermalZones() (milli []int) {
	for _, dir := range d.glob("sys/class/thermal/thermal_zone*") {
		kind, err := sensors.ReadAttr(filepath.Join(dir, "type"))
		if err != nil || !isCPU(kind) {
			continue
		}
		if v, ok := milliCelsius(filepath.Join(dir, "temp")); ok {
			milli = append(milli, v)
		}
	}
	return milli
}

// isCPU knows the zone types of the processor: cpu-thermal and cpu_thermal (Raspberry Pi, Rockchip, Allwinner), cpu0-thermal, soc-thermal,
// x86_pkg_temp, TCPU, bigcore0-thermal.
func isCPU(kind string) bool {
	kind = strings.ToLower(kind)
	for _, prefix := range []string{"cpu", "soc", "x86_pkg_temp", "tcpu", "bigcore", "littlecore", "package-thermal"} {
		if strings.HasPrefix(kind, prefix) {
			return true
		}
	}
	return false
}

// hwmon reads temp*_input of the chips that sit in the processor.
func (d *device) hwmon() (milli []int) {
	for _, dir := range d.glob("sys/class/hwmon/hwmon*") {
		chip, err := sensors.ReadAttr(filepath.Join(dir, "name"))
		if err != nil || !slices.Contains([]string{"coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "via_cputemp"}, chip) {
			continue
		}
		inputs, err := filepath.Glob(filepath.Join(dir, "temp*_input"))
		if err != nil {
			continue
		}
		for _, input := range inputs {
			base := strings.TrimSuffix(input, "_input")
			if fault, err := sensors.ReadAttr(base + "_fault"); err == nil && fault != "0" {
				continue // the kernel says that the value means nothing
			}
			if label, err := sensors.ReadAttr(base + "_label"); err == nil && label == "Tctl" && len(inputs) > 1 {
				continue // AMD's control value, which models with a second one shift by up to 27 °C
			}
			if v, ok := milliCelsius(input); ok {
				milli = append(milli, v)
			}
		}
	}
	return milli
}

// milliCelsius reads one attribute; values that no running processor has are those of a sensor that is off.
func milliCelsius(path string) (int, bool) {
	text, err := sensors.ReadAttr(path)
	if err != nil {
		return 0, false
	}
	v, err := strconv.Atoi(text)
	return v, err == nil && v > -50_000 && v < 150_000 && v != 0
}

// glob returns the folders that match a pattern below the root, in order.
func (d *device) glob(pattern string) []string {
	found, err := filepath.Glob(d.path(pattern))
	if err != nil {
		return nil // the pattern is ours and right
	}
	return found
}
