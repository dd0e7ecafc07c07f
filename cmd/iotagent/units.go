package main

import (
	"math"
	"strconv"
	"strings"
)

// units are what a person writes for the last word of a measurement's name.
func units() map[string]string {
	return map[string]string{
		"celsius": "°C", "percent": "%", "pascals": "Pa", "volts": "V", "amperes": "A", "watts": "W", "joules": "J", "ohms": "Ω", "lux": "lx", "seconds": "s",
		"hertz": "Hz", "meters": "m", "ppm": "ppm", "rpm": "rpm", "ph": "pH", "bytes": "B", "ratio": "", "count": "", "state": "",
	}
}

// splitUnit cuts the unit off a measurement's name, where it ends in one that is known.
func splitUnit(name string) (quantity, unit string) {
	i := strings.LastIndexByte(name, '_')
	unit, known := units()[name[i+1:]]
	if i < 0 || !known {
		return name, ""
	}
	return name[:i], unit
}

// withUnit writes a value as a person would: 21.5 °C, 1006.53 hPa, 7.6 GiB.
func withUnit(name string, v float64) string {
	_, unit := splitUnit(name)
	switch {
	case unit == "Pa" && math.Abs(v) >= 1000:
		v, unit = v/100, "hPa"
	case unit == "B" && math.Abs(v) < math.MaxInt64:
		return size(int64(v))
	}
	return strings.TrimSuffix(plain(v)+" "+unit, " ")
}

// plain writes a number to nine digits, more than any sensor has, and never with an exponent.
func plain(v float64) string {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 9, 64), 64)
	if err != nil {
		rounded = v
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}
