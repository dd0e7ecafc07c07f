package hubsim

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAddress(t *testing.T) {
	const entity = "iothub-ehub-myhub"
	opts := cmp.AllowUnexported(address{})
	for text, want := range map[string]address{
		"$cbs":                           {node: nodeCBS},
		"/$CBS":                          {node: nodeCBS},
		"/devices/pi-17/messages/events": {node: nodeTelemetry, device: "pi-17"},
		"devices/pi-17/messages/events/": {node: nodeTelemetry, device: "pi-17"},
		"amqps://h.example:5671/Devices/pi-17/Messages/deviceBound":   {node: nodeCommands, device: "pi-17"},
		"amqps://h.example/devices/a%40b%25/messages/devicebound":     {node: nodeCommands, device: "a@b%"},
		"/devices/50%/messages/events":                                {node: nodeTelemetry, device: "50%"},
		"/devices/d/modules/m/messages/events":                        {node: nodeTelemetry, device: "d", module: "m"},
		"/devices/d/twin":                                             {node: nodeTwin, device: "d"},
		"/messages/deviceBound":                                       {node: nodeSend},
		"messages/serviceBound/feedback":                              {node: nodeFeedback},
		"messages/events":                                             {node: nodeEvents, redirect: true},
		"messages/events/":                                            {node: nodeEvents, redirect: true},
		"/messages/events/$management":                                {node: nodeManagement, redirect: true, tail: "$management"},
		"/messages/events/ConsumerGroups/$Default/Partitions/3":       {node: nodeEvents, redirect: true, tail: "ConsumerGroups/$Default/Partitions/3", group: "$Default", partition: "3"},
		"amqps://h:1/iothub-ehub-myhub/ConsumerGroups/g/Partitions/0": {node: nodeEvents, tail: "ConsumerGroups/g/Partitions/0", group: "g", partition: "0"},
		"iothub-ehub-MYHUB/$management":                               {node: nodeManagement, tail: "$management"},
		"$management":                                                 {node: nodeManagement},
		"messages/eventsfoo":                                          {},
		"other-entity/ConsumerGroups/g/Partitions/0":                  {},
		"":                              {},
		"/devices//messages/events":     {node: nodeUnknown},
		"/devices/d/messages/elsewhere": {device: "d"},
		"amqps://h.example":             {},
	} {
		if diff := cmp.Diff(want, parseAddress(text, entity), opts); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"$cbs", "/devices/a%40/messages/events", "amqps://h/messages/events/ConsumerGroups/g/Partitions/0", "devices/%zz/twin"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a := parseAddress(s, "e")
		if (a.node == nodeTelemetry || a.node == nodeCommands) && a.device == "" {
			t.Errorf("%q: a device's node without a device", s)
		}
		if a.node == nodeEvents && !a.redirect && a.partition == "" {
			t.Errorf("%q: events without a partition", s)
		}
	})
}
