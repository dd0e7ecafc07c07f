package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"iotagent/agent"
	"iotagent/config"
	"iotagent/internal/clock"
	"iotagent/internal/golden"
	"iotagent/internal/quantity"
	"iotagent/outbox"
	"iotagent/sensors"
)

var update = golden.Update() //nolint:gochecknoglobals // a flag

func aReading() []taken {
	at := clock.Stamp{Wall: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Trusted: true}
	boiler := config.Sensor{Common: sensors.Common{Name: "boiler", Type: "bme280"}}
	duct := config.Sensor{Common: sensors.Common{Name: "duct", Type: "ds18b20"}}
	return []taken{
		newTaken(boiler, "bme280@i2c1:0x76", sensors.Reading{
			Sensor: "boiler", At: at, Quality: sensors.Good,
			Samples: []sensors.Sample{{Name: "temperature_celsius", Value: 21.5}, {Name: "pressure_pascals", Value: 100653.25}},
		}, 12345*time.Microsecond),
		newTaken(duct, "", sensors.Reading{Sensor: "duct", At: at, Quality: sensors.Failed, Reason: "no 1-Wire master"}, 200*time.Microsecond),
	}
}

func TestReadFormat(t *testing.T) {
	var b bytes.Buffer
	if err := printReadings(&b, aReading(), true); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "../../docs/formats/read.json", b.Bytes(), *update)
}

func TestCheckFormat(t *testing.T) {
	reached := false
	c := checked{
		File: "/etc/iotagent/iotagent.toml", Hub: "myhub.azure-devices.net", Device: "pi-17", Auth: "sas", Transport: "auto", StateDir: "/var/lib/iotagent",
		Sensors: []string{"boiler (bme280, every 10s)"}, Commands: []string{"relay (gpio)"}, MessagesADay: 8640, MeteredADay: 8640, BytesADay: 3110400,
		DiskWrites: "none while …",
		Warnings:   []string{"command \"relay\": …"}, Readings: aReading(), HubReached: &reached, Clock: "synchronised",
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(c); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "../../docs/formats/check.json", b.Bytes(), *update)
}

func TestReadingsForAPerson(t *testing.T) {
	var b bytes.Buffer
	if err := printReadings(&b, aReading(), false); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/read.txt", b.Bytes(), *update)
}

func TestStatusForAPerson(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	before, soon := now.Add(-3*time.Hour-12*time.Minute), now.Add(25*time.Second)
	s := &agent.Status{
		Time: now, ClockTrusted: true,
		Link: agent.LinkStatus{
			State: "waiting", Since: before, Error: "dial: connection refused", Class: "network", Hint: "check the cable",
			NextAttempt: &soon, Sent: 1200, Resent: 3,
		},
		Outbox: agent.OutboxStatus{
			Lanes: []agent.LaneStatus{
				{Lane: "alarm"}, {Lane: "normal", Queued: 41233, Bytes: 6 << 20, Oldest: &before}, {Lane: "bulk", Queued: 12, Dropped: 7, Oldest: &now},
			},
			Dead: 1, DiskBytes: 6<<20 + 1e5, QuotaBytes: 64 << 20, WrittenTodayBytes: 1258291, WrittenTodayCommits: 34, Degraded: "no space left on device", RAMOnly: 17,
			SetAside: []string{"/var/lib/iotagent/outbox/000000000003.seg.corrupt-20261122T080000.000000000Z"},
		},
		Readings: agent.PackCounts{ReadingsLost: 5},
		Sensors: []agent.SensorState{
			{Name: "boiler", Quality: "good", Values: map[string]float64{"temperature_celsius": 21.5, "free_bytes": 2.5e10}, Time: &now, Readings: 99},
			{Name: "duct", Quality: "error", Reason: "no ack", Time: &now, Readings: 9, Errors: 9},
			{Name: "new"},
			{Name: "tank", Quality: "good", Time: &now, Readings: 99, Retries: 3, Alarms: 2, Withheld: 90, Warning: "limits name …"},
		},
		Commands: []agent.Command{{Level: "high"}},
	}
	s.Commands[0].Name, s.Commands[0].Type = "lamp", "gpio"
	var b bytes.Buffer
	if err := printStatus(&b, s); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/status.txt", b.Bytes(), *update)
}

func TestCostADay(t *testing.T) {
	sensor := func(lane string, every time.Duration) config.Sensor {
		return config.Sensor{Common: sensors.Common{Name: "boiler", Lane: lane, Interval: quantity.Duration{Duration: every}}}
	}
	f := &config.File{Sensors: []config.Sensor{sensor("normal", time.Second), sensor("bulk", time.Hour)}}
	f.Telemetry.FlushInterval.Duration, f.Outbox.MaxLoss.Duration = 5*time.Second, 10*time.Second
	guess := costADay(f, nil)
	if guess.Messages != 17304 || guess.Metered != 17304 {
		t.Errorf("with a typical reading: %+v", guess)
	}
	measured := costADay(f, aReading())
	const reading = len(`{"sensor":"boiler","time":"2026-11-22T10:00:00.000Z","temperature_celsius":21.5,"pressure_pascals":100653.25},`)
	if want := guess.Bytes - (86400+24)*uint64(typicalReading-reading); measured.Messages != 17304 || measured.Bytes != want {
		t.Errorf("with a reading that was taken: %+v, want %d bytes", measured, want)
	}
}

func TestCostOfSampling(t *testing.T) {
	sensor := config.Sensor{Common: sensors.Common{Name: "boiler", Lane: "normal", Interval: quantity.Seconds(1)}}
	f := &config.File{Sensors: []config.Sensor{sensor}}
	f.Telemetry.FlushInterval.Duration, f.Outbox.MaxLoss.Duration = 5*time.Second, 10*time.Second
	f.Sensors[0].Window = quantity.Seconds(60)
	windows := costADay(f, nil)
	f.Sensors[0].Interval, f.Sensors[0].Window = f.Sensors[0].Window, f.Sensors[0].Interval
	f.Sensors[0].Window.Duration = 0
	if plain := costADay(f, nil); windows.Messages != 1440 || windows.Bytes < plain.Bytes+1440*100 || atMost(f) {
		t.Errorf("windows of a minute cost %+v, readings each minute %+v", windows, plain)
	}
	f.Sensors[0].Window = quantity.Seconds(60)
	f.Sensors[0].Tags = map[string]string{"site": "north"}
	if tagged := costADay(f, nil); tagged.Bytes != windows.Bytes+1440*uint64(len(`,"tags":{"site":"north"}`)) {
		t.Errorf("a tag costs %+v, without it %+v", tagged, windows)
	}
	f.Sensors[0].Deadband = []sensors.Band{{Absolute: 1}}
	r := checked{MessagesADay: 1440, AtMost: atMost(f)}
	if got := r.cost(); !strings.HasPrefix(got, "at most 1440 messages a day, ") {
		t.Error(got)
	}
}

func TestOutboxOptions(t *testing.T) {
	parse := func(text string) *outbox.Options {
		t.Helper()
		f, err := config.Parse("f", []byte("[hub]\nconnection_string_file = \"cs\"\n"+text), configOptions())
		if err != nil {
			t.Fatal(err)
		}
		return outboxOptions(f)
	}
	o := parse("")
	if o.MinFree != 0 || o.Thin != nil || o.MaxLoss != 10*time.Second || o.MaxBytes != 256<<20 {
		t.Errorf("of an empty file: %+v", o)
	}
	if o = parse("[outbox]\nmin_free = \"0B\"\nmax_loss = \"0s\"\n"); o.MinFree >= 0 || o.MaxLoss != 0 {
		t.Errorf("without a floor: %+v", o)
	}
	o = parse("[outbox]\nmin_free = \"1GiB\"\n[[sensor]]\nname = \"a\"\ntype = \"sim\"\nthin = \"mean\"\n")
	if o.MinFree != 1<<30 || o.Thin == nil {
		t.Errorf("with all of it: %+v", o)
	}
}

func TestDiskWrites(t *testing.T) {
	for loss, want := range map[time.Duration]string{
		0:                "every reading, before it is sent; a power cut takes none",
		10 * time.Second: "none while the hub takes a message within 5s; a power cut takes at most the last 10s of readings",
		4 * time.Second:  "none while the hub takes a message within 2s; a power cut takes at most the last 4s of readings",
		time.Minute:      "none while the hub takes a message within 55s; a power cut takes at most the last 1m of readings",
	} {
		f := &config.File{}
		f.Telemetry.FlushInterval.Duration, f.Outbox.MaxLoss.Duration = 5*time.Second, loss
		if got := diskWrites(f); got != want {
			t.Errorf("max_loss %v: %s", loss, got)
		}
	}
}

func TestFillerHasItsSize(t *testing.T) {
	for _, size := range []int{0, 1, 10, 17, 18, 200, 4096} {
		if got := len(filler(7, size)); got != size {
			t.Errorf("size %d: got %d bytes", size, got)
		}
	}
	if !json.Valid(filler(12, 200)) {
		t.Error("a filler with room is not JSON")
	}
}

func TestChooseNamesTheKnown(t *testing.T) {
	all := []config.Sensor{{Common: sensors.Common{Name: "boiler"}}, {Common: sensors.Common{Name: "duct"}}}
	got, err := choose(all, []string{"duct"})
	if err != nil || len(got) != 1 || got[0].Name != "duct" {
		t.Errorf("chose %v, %v", got, err)
	}
	if _, err := choose(all, []string{"dukt"}); err == nil || errors.Unwrap(err) == nil {
		t.Errorf("error %v", err)
	}
}
