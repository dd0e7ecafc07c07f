package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"iotagent/sensors"
)

func TestSamplingWords(t *testing.T) {
	const hub = "[hub]\nconnection_string_file = \"cs\"\n[[sensor]]\nname = \"boiler\"\ntype = \"bme280\"\n"
	number := func(v float64) *float64 { return &v }
	for name, row := range map[string]struct {
		text string
		want sensors.Sampling
	}{
		"none": {"", sensors.Sampling{}},
		"schedule": {
			"interval = \"60s\"\noffset = \"5s\"\njitter = \"59s\"\nalign = true\nretries = 2\nstale_after = \"2m\"\n",
			sensors.Sampling{Offset: seconds(5), Jitter: seconds(59), Align: true, Retries: 2, StaleAfter: seconds(120)},
		},
		"calibration": {
			`calibration = [{ sample = "temperature_celsius", offset = -0.4, scale = 1.0 }, { sample = "humidity_percent", points = [[0, 0.3], [100, 99.1]] }]`,
			sensors.Sampling{Calibration: []sensors.Calibration{
				{Sample: "temperature_celsius", Offset: -0.4, Scale: number(1)}, {Sample: "humidity_percent", Points: [][]float64{{0, 0.3}, {100, 99.1}}},
			}},
		},
		"calibration in blocks": {
			"[[sensor.calibration]]\nsample = \"temperature_celsius\"\noffset = 0\n[[sensor.calibration]]\nsample = \"humidity_percent\"\nscale = 0.98\n",
			sensors.Sampling{Calibration: []sensors.Calibration{{Sample: "temperature_celsius"}, {Sample: "humidity_percent", Scale: number(0.98)}}},
		},
		"limits": {
			`limits = [{ sample = "temperature_celsius", min = -40, max = 85, alarm_above = 80, alarm_below = 5, hysteresis = 2, alarm_after = 3 }]`,
			sensors.Sampling{Limits: []sensors.Limit{{
				Sample: "temperature_celsius", Min: number(-40), Max: number(85), AlarmAbove: number(80), AlarmBelow: number(5), Hysteresis: 2, AlarmAfter: 3,
			}}},
		},
		"windows": {"window = \"1m\"\naggregate = [\"last\", \"count\"]\n", sensors.Sampling{Window: seconds(60), Aggregate: []string{"last", "count"}}},
		"deadband": {
			"deadband = [{ sample = \"temperature_celsius\", absolute = 0.2 }, { percent = 1 }]\nheartbeat = \"10s\"\n",
			sensors.Sampling{Deadband: []sensors.Band{{Sample: "temperature_celsius", Absolute: 0.2}, {Percent: 1}}, Heartbeat: seconds(10)},
		},
		"tags": {`tags = { site = "north", line = "3 & 4" }`, sensors.Sampling{Tags: map[string]string{"site": "north", "line": "3 & 4"}}},
	} {
		t.Run(name, func(t *testing.T) {
			file, err := Parse("f.toml", []byte(hub+row.text), fakes())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, file.Sensors[0].Sampling, same()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestPlaceFindsElements(t *testing.T) {
	const text = "[hub]\nconnection_string_file = \"cs\"\n[[sensor]]\nname = \"boiler\"\ntype = \"bme280\"\ncalibration = [ {sample = \"a_celsius\",\n  points = [[0, 1],\n   [0, 2]]}]\n"
	_, err := Parse("f.toml", []byte(text), fakes())
	if want := "f.toml:7:12: sensor[boiler].calibration[0].points[1]: want what the sensor says"; err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
		t.Errorf("got %v, want %s…", err, want)
	}
}
