package service

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRedirect(t *testing.T) {
	const node = "amqps://ns.servicebus.example:5671/my-hub/ConsumerGroups/$Default/Partitions/0"
	for name, test := range map[string]struct {
		info map[string]any
		want redirect // none: an error
	}{
		"as Azure sends it": {
			map[string]any{"hostname": "ns.example", "network-host": "10.0.0.7", "port": int32(5671), "address": node},
			redirect{"ns.example", "10.0.0.7:5671", "my-hub"},
		},
		"address alone":            {map[string]any{"address": node}, redirect{"ns.servicebus.example", "ns.servicebus.example:5671", "my-hub"}},
		"management":               {map[string]any{"address": "amqps://ns:15671/my-hub/$management"}, redirect{"ns", "ns:15671", "my-hub"}},
		"escaped, in another case": {map[string]any{"address": "amqps://ns/my-hub/%24Management/"}, redirect{"ns", "ns:5671", "my-hub"}},
		"entity of two parts":      {map[string]any{"address": "amqps://ns/a/b/consumergroups/x"}, redirect{"ns", "ns:5671", "a/b"}},
		"entity alone":             {map[string]any{"address": "amqps://ns/my-hub"}, redirect{"ns", "ns:5671", "my-hub"}},
		"port beats the address":   {map[string]any{"address": node, "port": uint16(443)}, redirect{"ns.servicebus.example", "ns.servicebus.example:443", "my-hub"}},
		"IPv6":                     {map[string]any{"address": "amqps://[::1]:15671/my-hub/$management"}, redirect{"::1", "[::1]:15671", "my-hub"}},
		"IPv6 without a port":      {map[string]any{"address": "amqps://[fe80::1]/my-hub", "hostname": "h"}, redirect{"h", "[fe80::1]:5671", "my-hub"}},
		"wrong types": {
			map[string]any{"address": node, "hostname": 7, "network-host": []byte("x"), "port": "5671"},
			redirect{"ns.servicebus.example", "ns.servicebus.example:5671", "my-hub"},
		},
		"letters that grow in lower case": {
			map[string]any{"address": "amqps://ns/" + strings.Repeat("İ", 40) + "/$management"}, redirect{"ns", "ns:5671", strings.Repeat("İ", 40)},
		},
		"nothing":            {nil, redirect{}},
		"address of a type":  {map[string]any{"address": 7}, redirect{}},
		"no host":            {map[string]any{"address": "/my-hub"}, redirect{}},
		"port without host":  {map[string]any{"address": "amqps://:5671/my-hub"}, redirect{}},
		"no entity":          {map[string]any{"address": "amqps://ns:5671/"}, redirect{}},
		"no entity but node": {map[string]any{"address": "amqps://ns:5671/$management"}, redirect{}},
		"broken escape":      {map[string]any{"address": "amqps://ns/%zz"}, redirect{}},
		"port too large":     {map[string]any{"address": node, "port": int64(65536)}, redirect{}},
		"port 0 in address":  {map[string]any{"address": "amqps://ns:0/my-hub"}, redirect{}},
		"port 99999":         {map[string]any{"address": "amqps://ns:99999/my-hub"}, redirect{}},
	} {
		got, err := parseRedirect(test.info)
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(redirect{})); diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		if (err == nil) != (test.want != redirect{}) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzParseRedirect(f *testing.F) {
	f.Add("amqps://ns.example:5671/hub/ConsumerGroups/$Default/Partitions/0", "ns.example", "10.0.0.7", int64(5671))
	f.Add("amqps://[::1]/hub/$management", "", "", int64(-1))
	f.Add("amqps://ns/İİİİİİİİİİİİİİİİİİ/$management", "", "", int64(0))
	f.Add("%", "\x00", ":", int64(1<<40))
	f.Fuzz(func(t *testing.T, address, hostname, network string, port int64) {
		r, err := parseRedirect(map[string]any{"address": address, "hostname": hostname, "network-host": network, "port": port})
		if err != nil {
			return
		}
		_, p, err := net.SplitHostPort(r.addr)
		if err != nil && !strings.ContainsAny(r.addr, "[]") {
			t.Errorf("%q is no address to dial: %v", r.addr, err)
		}
		if n, perr := strconv.Atoi(p); err == nil && (perr != nil || n < 1 || n > 65535) {
			t.Errorf("port %q", p)
		}
		if r.hostname == "" || r.entity == "" || strings.HasSuffix(strings.ToLower(r.entity), "/$management") {
			t.Errorf("%+v", r)
		}
	})
}
