package sensortest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"iotagent/internal/quantity"
	"iotagent/sensors"
)

// checkSampleConfig holds Driver.Sample to be one [[sensor]] block of this type whose every key exists and has a right value.
func checkSampleConfig(t *testing.T, d sensors.Driver) {
	for _, text := range []string{d.Sample, uncommented(d.Sample)} {
		var file struct {
			Sensor []map[string]any `toml:"sensor"`
		}
		if err := toml.Unmarshal([]byte(text), &file); err != nil {
			t.Fatalf("Sample: %v\n%s", err, text)
		}
		if len(file.Sensor) != 1 || file.Sensor[0]["type"] != d.Type || file.Sensor[0]["name"] == nil {
			t.Fatalf("Sample is not one [[sensor]] with a name and type = %q:\n%s", d.Type, text)
		}
		cfg := d.New()
		table := file.Sensor[0]
		setKeys(t, reflect.ValueOf(&sensors.Common{}).Elem(), table)
		setKeys(t, reflect.ValueOf(cfg).Elem(), table)
		for _, key := range keys(reflect.TypeOf(cfg).Elem()) {
			if slices.Contains(keys(reflect.TypeFor[sensors.Common]()), key) {
				t.Errorf("key %s is one of every [[sensor]], so this driver never sees it", key)
			}
		}
		if len(table) > 0 {
			t.Errorf("Sample has keys that do not exist: %v", slices.Sorted(maps.Keys(table)))
		}
		cfg.Validate(func(key, msg string) { t.Errorf("Sample: %s: %s", key, msg) })
	}
}

// uncommented switches on the optional keys of a sample: the lines that read "# key = value".
func uncommented(sample string) string {
	lines := strings.Split(sample, "\n")
	for i, l := range lines {
		if rest, ok := strings.CutPrefix(l, "# "); ok {
			if key, _, isKey := strings.Cut(rest, " = "); isKey && !strings.ContainsAny(key, " .") {
				lines[i] = rest
			}
		}
	}
	return strings.Join(lines, "\n")
}

// keys returns the keys of a struct.
func keys(typ reflect.Type) []string {
	var all []string
	for f := range typ.Fields() {
		if f.Anonymous {
			all = append(all, keys(f.Type)...)
		} else {
			all = append(all, f.Tag.Get("toml"))
		}
	}
	return all
}

// setKeys takes the keys that the struct v has out of the table and sets its fields.
func setKeys(t *testing.T, v reflect.Value, table map[string]any) {
	t.Helper()
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		if v.Type().Field(i).Anonymous {
			setKeys(t, v.Field(i), table)
			continue
		}
		key := v.Type().Field(i).Tag.Get("toml")
		if key == "" || key != strings.ToLower(key) {
			t.Errorf("field %s.%s: its toml tag %q is no lower-case key", v.Type(), v.Type().Field(i).Name, key)
			continue
		}
		value, ok := table[key]
		if !ok {
			continue
		}
		delete(table, key)
		if err := setField(v.Field(i), key, value); err != nil {
			t.Errorf("Sample: %s: %v", key, err)
		}
	}
}

func setField(field reflect.Value, key string, value any) error {
	switch f := field.Addr().Interface().(type) {
	case *quantity.Duration:
		f.UnmarshalTOMLText(fmt.Sprintf("%#v", value))
		return problem(f.Problem())
	case *quantity.Bytes:
		f.UnmarshalTOMLText(fmt.Sprintf("%#v", value))
		return problem(f.Problem())
	}
	text, err := toml.Marshal(map[string]any{key: value})
	if err != nil {
		return err
	}
	holder := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: "Field", Type: field.Type(), Tag: reflect.StructTag(fmt.Sprintf("toml:%q", key)),
	}}))
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(holder.Interface()); err != nil {
		return err
	}
	field.Set(holder.Elem().Field(0))
	return nil
}

func problem(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}
