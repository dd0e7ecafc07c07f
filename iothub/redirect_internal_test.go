package iothub

import (
	"encoding/hex"
	"errors"
	"testing"

	amqp "github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseRedirect(t *testing.T) {
	tests := []struct {
		info map[string]any
		want *Redirect
		text string
	}{
		{
			map[string]any{"hostname": "n", "network-host": "h", "port": int32(5671), "address": "amqps://n:5671/devices/d/messages/events"},
			&Redirect{Host: "h", Port: 5671, Hostname: "n", Address: "/devices/d/messages/events"}, "h:5671/devices/d/messages/events",
		},
		{map[string]any{"hostname": "n", "network-host": "h"}, &Redirect{Host: "h", Hostname: "n"}, "h"},
		{map[string]any{"hostname": "n"}, &Redirect{Host: "n", Hostname: "n"}, "n"},
		{map[string]any{"network-host": "::1", "port": uint16(1)}, &Redirect{Host: "::1", Port: 1, Hostname: "::1"}, "[::1]:1"},
		{map[string]any{"address": "amqps://n:5671"}, &Redirect{Host: "n", Hostname: "n"}, "n"},
		{map[string]any{"address": "amqps://n/x/"}, &Redirect{Host: "n", Hostname: "n", Address: "/x"}, "n/x"},
		{map[string]any{"network-host": "h", "address": "x/y"}, &Redirect{Host: "h", Hostname: "h", Address: "/x/y"}, "h/x/y"},
		{nil, nil, ""},
		{map[string]any{"address": "/x"}, nil, ""},
		{map[string]any{"network-host": "a b"}, nil, ""},
		{map[string]any{"network-host": "h", "port": "5671"}, nil, ""},
		{map[string]any{"network-host": "h", "port": int32(-1)}, nil, ""},
		{map[string]any{"network-host": "h", "port": int64(65536)}, nil, ""},
		{map[string]any{"network-host": 7}, nil, ""},
	}
	for _, tt := range tests {
		got, err := parseRedirect(tt.info)
		if diff := cmp.Diff(tt.want, got); diff != "" || errors.Is(err, errNowhere) != (tt.want == nil) {
			t.Errorf("%v: %v (-want +got):\n%s", tt.info, err, diff)
		}
		if got != nil && got.String() != tt.text {
			t.Errorf("%v prints as %s", tt.info, got)
		}
	}
}

// A redirect that says nothing of where to is an error with a hint, and not followed.
func TestRedirectWithoutAPlace(t *testing.T) {
	e := failure("attach telemetry", &amqp.Error{Condition: amqp.ErrCondLinkRedirect})
	if e.Class != ClassRedirect || e.Redirect != nil || e.Hint == "" {
		t.Errorf("%+v", e)
	}
}

func TestPlaces(t *testing.T) {
	tests := []struct {
		o    Options
		host string
		port int
		open string
	}{
		{Options{Host: "hub"}, "hub", 0, "hub"},
		{Options{Host: "hub:5672"}, "hub", 5672, "hub"},
		{Options{Host: "hub", Port: 7}, "hub", 7, "hub"},
		{Options{Host: "hub", Gateway: "gw:8"}, "gw", 8, "hub"},
		{Options{Host: "hub", Gateway: "gw", Port: 9}, "gw", 9, "hub"},
	}
	for _, tt := range tests {
		tt.o.DeviceID = "a b"
		p := home(&tt.o)
		if p.host != tt.host || p.port != tt.port || p.open != tt.open || p.tls != tt.host || p.audience != "hub" {
			t.Errorf("%v: %+v", tt.o, p)
		}
		if p.telemetry != "/devices/a%20b/messages/events" || p.command != "/devices/a%20b/messages/devicebound" {
			t.Errorf("%v: addresses %s, %s", tt.o, p.telemetry, p.command)
		}
		to := p.towards(&Redirect{Host: "h", Port: 5671, Hostname: "10.0.0.1", Address: "/x"}, Command)
		if to.port != 0 || to.audience != "hub" || to.open != "10.0.0.1" || to.command != "/x" || to.telemetry != p.telemetry {
			t.Errorf("%v: towards %+v", tt.o, to)
		}
	}
	if a := address(&Options{DeviceID: "d", ModuleID: "m/1"}, "x"); a != "/devices/d/modules/m%2F1/x" {
		t.Errorf("module's address %s", a)
	}
}

// The error of a DETACH as hubs send it, every width of a port, and values that are of no interest.
func TestInfoOfARunningLinksRedirect(t *testing.T) {
	const hostname, key = "a308686f73746e616d65" + "a10168", "a304706f7274" // hostname "h"; port
	tests := []struct {
		fields string
		n      int // keys and values
		want   map[string]any
	}{
		{"", 0, map[string]any{}},
		{hostname, 2, map[string]any{"hostname": "h"}},
		{key + "7100001627", 2, map[string]any{"port": int64(5671)}},
		{key + "601627", 2, map[string]any{"port": uint64(5671)}},
		{key + "5101", 2, map[string]any{"port": int64(1)}},
		{key + "5401", 2, map[string]any{"port": int64(1)}},
		{key + "61fffe", 2, map[string]any{"port": int64(-2)}},
		{key + "5550", 2, map[string]any{"port": int64(80)}},
		{key + "810000000000001627", 2, map[string]any{"port": int64(5671)}},
		{key + "43", 2, map[string]any{"port": uint64(0)}},
		{key + "44", 2, map[string]any{"port": uint64(0)}},
		{key + "5007", 2, map[string]any{"port": uint64(7)}},
		{key + "5207", 2, map[string]any{"port": uint64(7)}},
		{key + "5307", 2, map[string]any{"port": uint64(7)}},
		{key + "7000001627", 2, map[string]any{"port": uint64(5671)}},
		{key + "800000000000001627", 2, map[string]any{"port": uint64(5671)}},
		{key + "40" + hostname, 4, map[string]any{"hostname": "h"}},
		{"430" + "1" + hostname, 0, nil}, // not well-formed
		{"4341" + hostname, 4, map[string]any{"hostname": "h"}},
	}
	for _, tt := range tests {
		fields, err := hex.DecodeString(tt.fields)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range [][]byte{
			append([]byte{0xc1, byte(len(fields) + 1), byte(tt.n)}, fields...),
			append([]byte{0xd1, 0, 0, 0, byte(len(fields) + 4), 0, 0, 0, byte(tt.n)}, fields...),
		} {
			encoded := append([]byte{0x00, 0x53, 0x1d}, encodeList([][]byte{append([]byte{0xa3, 1}, 'x'), {0x40}, m}, false)...)
			e := remoteError(encoded)
			if tt.want == nil {
				if e != nil {
					t.Errorf("%x: %+v", m, e)
				}
				continue
			}
			if e == nil {
				t.Fatalf("%x: no error", m)
			}
			if diff := cmp.Diff(tt.want, e.Info, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%x (-want +got):\n%s", m, diff)
			}
		}
	}
}

func FuzzInfoMap(f *testing.F) {
	f.Add([]byte{0xc1, 5, 2, 0xa1, 1, 'k', 0x43})
	f.Add([]byte{0xc1, 1, 0})
	f.Add([]byte{0xd1, 0, 0, 0, 4, 0, 0, 0, 0})
	f.Add([]byte{0x40})
	f.Fuzz(func(t *testing.T, b []byte) {
		rest, err := skipValue(b, 0)
		if err != nil {
			return // never reaches it
		}
		info := infoMap(b[:len(b)-len(rest)])
		for k := range info {
			if k == "" {
				t.Error("an empty key")
			}
		}
		if r, err := parseRedirect(info); err == nil && (r.Host == "" || r.Hostname == "" || r.Port < 0 || r.Port > 65535) {
			t.Errorf("%+v", r)
		}
	})
}
