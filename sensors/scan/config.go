package scan

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"iotagent/sensors"
)

// block is one [[sensor]] table to be.
type block struct {
	driver sensors.Driver
	cfg    sensors.Config
	name   string
	note   string
	sure   bool // otherwise it stands behind #
}

// i2cBlock is that of a chip at an address; chip is its name, "" when it is only possible.
func i2cBlock(d sensors.Driver, bus string, addr uint16, chip string, sure bool) block {
	b := block{driver: d, cfg: d.New(), name: fmt.Sprintf("%s-%s-%02x", d.Type, bus, addr), sure: sure}
	v := reflect.ValueOf(b.cfg).Elem()
	if f := field(v, "bus"); f.IsValid() && f.Kind() == reflect.String {
		f.SetString(bus)
	}
	if f := field(v, "address"); f.IsValid() && f.CanInt() {
		f.SetInt(int64(addr))
	}
	b.note = fmt.Sprintf("%s at 0x%02x of bus %s", chip, addr, bus)
	if !sure {
		b.note = fmt.Sprintf("possibly, at 0x%02x of bus %s: %s", addr, bus, d.Doc)
	}
	return b
}

// field is that of a toml key; not valid when there is none.
func field(v reflect.Value, key string) reflect.Value {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("toml") == key {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// compose writes the blocks, each sensor under a name of its own.
func compose(blocks []block) string {
	var text strings.Builder
	used := map[string]bool{}
	for _, b := range blocks {
		name := sensorName(b.name)
		for n := 2; used[name]; n++ {
			name = sensorName(fmt.Sprintf("%s-%d", b.name, n))
		}
		used[name] = true
		if text.Len() > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(b.text(name))
	}
	return text.String()
}

// sensorName keeps what the name of a sensor may have.
func sensorName(s string) string {
	s = regexp.MustCompile(`[^A-Za-z0-9_.-]+`).ReplaceAllString(s, "-")
	return strings.Trim(s[:min(len(s), 64)], "-")
}

// text is the block as it stands in the file, behind # when it is not certain.
func (b *block) text(name string) string {
	lines := []string{"[[sensor]]", "name = " + strconv.Quote(name), "type = " + strconv.Quote(b.driver.Type)}
	lines = append(lines, b.keys()...)
	lines = append(lines, `interval = "10s"`)
	if !b.sure {
		for i, l := range lines {
			lines[i] = "# " + l
		}
	}
	if b.note != "" {
		lines = append([]string{"# " + b.note}, lines...)
	}
	return strings.Join(lines, "\n") + "\n"
}

// keys are where the sensor is, and what else differs from the driver's defaults.
func (b *block) keys() []string {
	got, def := reflect.ValueOf(b.cfg).Elem(), reflect.ValueOf(b.driver.New()).Elem()
	var lines []string
	for i := range got.NumField() {
		key := got.Type().Field(i).Tag.Get("toml")
		v := got.Field(i)
		place := key == "bus" || key == "address"
		if key == "" || !place && reflect.DeepEqual(v.Interface(), def.Field(i).Interface()) {
			continue
		}
		switch {
		case v.CanInt() && key == "address":
			lines = append(lines, fmt.Sprintf("address = 0x%02x", v.Int()))
		case v.CanInt():
			lines = append(lines, fmt.Sprintf("%s = %d", key, v.Int()))
		case v.Kind() == reflect.String:
			lines = append(lines, key+" = "+strconv.Quote(v.String()))
		}
	}
	return lines
}
