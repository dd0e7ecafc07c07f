package hubsim_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
	"iotagent/iothub/sas"
)

const (
	moduleEvents   = "/devices/pi-17/modules/edge1/messages/events"
	moduleCommands = "/devices/pi-17/modules/edge1/messages/devicebound"
)

// moduleToken adds the module edge1 and returns a token of its own.
func (b *bed) moduleToken() string {
	b.t.Helper()
	c, err := b.AddModule("pi-17", "edge1")
	if err != nil {
		b.t.Fatal(err)
	}
	if c.DeviceID != "pi-17" || c.ModuleID != "edge1" || c.Key.Equal(b.device.Key) {
		b.t.Errorf("connection string %v", c)
	}
	return c.Key.Token(sas.Resource("localhost", "pi-17", "edge1"), time.Now().Add(time.Hour), "")
}

func TestModuleTelemetryAndCommands(t *testing.T) {
	for name, plain := range map[string]bool{"cbs": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, nil)
			token := b.moduleToken()
			var c *client
			if plain {
				c = b.connect(amqp.SASLTypePlain("pi-17/modules/edge1@sas.localhost", token))
			} else {
				c = b.connect(nil)
				c.authorize(token)
			}
			accepted(t, c.send(c.sender(moduleEvents), amqp.NewMessage([]byte("x"))))
			a := b.Events()[0].Annotations
			if a["iothub-connection-device-id"] != "pi-17" || a["iothub-connection-module-id"] != "edge1" ||
				!strings.Contains(a["iothub-connection-auth-method"].(string), `"scope":"module"`) {
				t.Errorf("annotations %v", a)
			}
			service := b.connectService()
			to := moduleCommands
			accepted(t, service.send(service.sender("/messages/devicebound"), &amqp.Message{
				Properties: &amqp.MessageProperties{To: &to, MessageID: "m1"}, Data: [][]byte{[]byte("on")},
			}))
			if n := b.Queued("pi-17"); n != 0 {
				t.Errorf("%d commands in the device's own queue", n)
			}
			r := c.receiver(moduleCommands, nil)
			m := c.receive(r)
			if want := "/devices/pi-17/modules/edge1/messages/deviceBound"; *m.Properties.To != want || string(m.GetData()) != "on" {
				t.Errorf("got %q to %s", m.GetData(), *m.Properties.To)
			}
			if err := r.AcceptMessage(stepContext(t), m); err != nil {
				t.Fatal(err)
			}
			if err := b.WaitFor(stepContext(t), func() bool { return b.Queued("pi-17/edge1") == 0 }); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestModulesAreIdentitiesOfTheirOwn(t *testing.T) {
	b := newBed(t, nil)
	token := b.moduleToken()
	module, device := b.connect(nil), b.connectDevice()
	module.authorize(token)
	for address, c := range map[string]*client{
		eventsAddress: module, moduleEvents: device, "/devices/pi-17%2Fedge1/messages/events": module,
		"/devices/pi-17/modules/none/messages/events": module,
	} {
		if _, err := c.NewSender(stepContext(t), address, nil); err == nil {
			t.Errorf("%s was opened with another's token", address)
		}
	}
	// Both are connected at once, and the device's fate is its modules'.
	module.sender(moduleEvents)
	device.sender(eventsAddress)
	if got := b.Links("pi-17/edge1"); len(got) != 1 || got[0] != moduleEvents {
		t.Errorf("links %v", got)
	}
	if err := b.DisableDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	if got := append(b.Links("pi-17/edge1"), b.Links("pi-17")...); len(got) != 0 {
		t.Errorf("links of a disabled device: %v", got)
	}
	if status, _, _ := b.connect(nil).cbs().put("1", "n", token); status != 401 {
		t.Errorf("token of a disabled device's module: %d", status)
	}
	if err := b.RemoveDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	if all := b.Devices(); len(all) != 0 {
		t.Errorf("left over: %v", all)
	}
}

func TestAddModuleRefusals(t *testing.T) {
	b := newBed(t, nil)
	if _, err := b.AddModule("ghost", "m"); !errors.Is(err, hubsim.ErrUnknownDevice) {
		t.Errorf("of an unknown device: %v", err)
	}
	b.moduleToken()
	if _, err := b.AddModule("pi-17", "edge1"); !errors.Is(err, hubsim.ErrDeviceExists) {
		t.Errorf("twice: %v", err)
	}
	for _, id := range []string{"", "a/b", ".."} {
		if _, err := b.AddModule("pi-17", id); err == nil {
			t.Errorf("module id %q was taken", id)
		}
	}
}

func TestModuleSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	b := newBed(t, &hubsim.Options{StateDir: dir})
	b.moduleToken()
	again, err := hubsim.New(&hubsim.Options{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.Devices()["pi-17/edge1"], b.Devices()["pi-17/edge1"]; !got.Key.Equal(want.Key) || got.ModuleID != "edge1" {
		t.Errorf("got %v, want %v", got, want)
	}
	files, err := filepath.Glob(filepath.Join(dir, "devices", "pi-17", "*"))
	if err != nil || len(files) != 1 || filepath.Base(files[0]) != "edge1.connection-string" {
		t.Errorf("files %v, %v", files, err)
	}
}
