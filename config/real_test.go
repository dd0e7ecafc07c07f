package config_test

import (
	"fmt"
	"strings"
	"testing"

	"iotagent/c2d"
	"iotagent/c2d/execcmd"
	"iotagent/config"
	"iotagent/sensors/all"
)

func types() *config.Options {
	return &config.Options{Sensors: all.Drivers(), Commands: []c2d.Type{execcmd.Type()}}
}

// TestSamples reads the sample block of every real type as one file.
func TestSamples(t *testing.T) {
	o := types()
	var text strings.Builder
	text.WriteString("[hub]\nconnection_string_file = \"cs\"\n")
	for i, d := range o.Sensors {
		// The samples are not meant for one machine: many chips have the same address.
		text.WriteString("\n" + strings.NewReplacer(`bus = "1"`, fmt.Sprintf(`bus = "%d"`, i), `port = "0.`, fmt.Sprintf(`port = "%d.`, i)).Replace(d.Sample))
	}
	for _, c := range o.Commands {
		text.WriteString("\n" + c.Sample)
	}
	f, err := config.Parse("samples.toml", []byte(text.String()), o)
	if err != nil {
		t.Fatalf("%v\nin:\n%s", err, text.String())
	}
	if len(f.Sensors) < len(o.Sensors) || len(f.Commands) < len(o.Commands) {
		t.Errorf("got %d sensors and %d commands of %d and %d types", len(f.Sensors), len(f.Commands), len(o.Sensors), len(o.Commands))
	}
}

// TestRealTypesAreStrict guards that a type's keys and the common ones share one table, and that no other key slips through.
func TestRealTypesAreStrict(t *testing.T) {
	o := types()
	var text strings.Builder
	text.WriteString("[hub]\nconnection_string_file = \"cs\"\n")
	for _, d := range o.Sensors {
		text.WriteString("[[sensor]]\nname = \"s-" + d.Type + "\"\ntype = \"" + d.Type + "\"\nno_such_key_anywhere = 1\n")
	}
	for _, c := range o.Commands {
		text.WriteString("[[command]]\nname = \"c-" + c.Name + "\"\ntype = \"" + c.Name + "\"\nno_such_key_anywhere = 1\n")
	}
	_, err := config.Parse("f.toml", []byte(text.String()), o)
	if err == nil {
		t.Fatal("unknown keys were accepted")
	}
	if got, want := strings.Count(err.Error(), "no_such_key_anywhere: unknown key"), len(o.Sensors)+len(o.Commands); got != want {
		t.Errorf("%d of %d unknown keys were reported:\n%v", got, want, err)
	}
}
