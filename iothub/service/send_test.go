package service_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/iothub"
	"iotagent/iothub/sas"
	"iotagent/iothub/service"
)

func TestSendReachesTheDevice(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		device := b.device("pi-17%(a)") // an id that has to be escaped
		expires := wall().Add(time.Minute).Truncate(time.Millisecond).UTC()
		want := &service.Command{
			ID: service.NewID(), CorrelationID: "c-1", Subject: "relay", Expires: expires, Ack: service.AckFull,
			Properties: map[string]string{"command": "relay", "k": "ü<"}, Body: []byte(`{"level":"high"}`),
		}
		if err := b.service().Send(t.Context(), "pi-17%(a)", want); err != nil {
			t.Fatal(err)
		}
		d := receive(t, device)
		if d.MessageID != want.ID || d.CorrelationID != "c-1" || d.Subject != "relay" || !d.Expires.Equal(expires) || string(d.Body) != string(want.Body) {
			t.Errorf("got %+v", d)
		}
		if diff := cmp.Diff(map[string]string{"command": "relay", "k": "ü<", "iothub-ack": "full"}, d.Properties); diff != "" {
			t.Error(diff)
		}
		settle(t, device, d, iothub.Accept)
		if err := b.WaitFor(t.Context(), func() bool { return b.Queued("pi-17%(a)") == 0 }); err != nil {
			t.Error(err)
		}
	})
}

func TestAnEmptyCommandWithoutProperties(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		device := b.device("pi-17")
		if err := b.service().Send(t.Context(), "pi-17", &service.Command{ID: "x"}); err != nil {
			t.Fatal(err)
		}
		if d := receive(t, device); d.MessageID != "x" || len(d.Body) != 0 || len(d.Properties) != 0 || d.CorrelationID != "" || d.Subject != "" {
			t.Errorf("got %+v", d)
		}
	})
}

func TestSendRefused(t *testing.T) {
	wrong, err := sas.ParseKey("d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXk=")
	if err != nil {
		t.Fatal(err)
	}
	big := &service.Command{ID: "big", Body: make([]byte, 64<<10+1)}
	tight := &service.Command{ID: "tight", Body: make([]byte, 64<<10), Properties: map[string]string{"one": "more"}}
	for name, test := range map[string]struct {
		policy string
		auth   service.Auth
		change func(*sas.ConnectionString)
		device string
		cmd    *service.Command
		want   error
		text   string
	}{
		"unknown device": {device: "pi-18", want: service.ErrDeviceUnknown, text: "send to pi-18: no such device: amqp:not-found (404001): Device pi-18 not registered."},
		"wrong key":      {auth: service.AuthPlain, change: func(c *sas.ConnectionString) { c.Key = wrong }, want: service.ErrUnauthorized, text: "refused the policy's key"},
		"wrong policy":   {auth: service.AuthPlain, change: func(c *sas.ConnectionString) { c.SharedAccessKeyName = "nobody" }, want: service.ErrUnauthorized, text: "refused the policy's key"},
		"wrong key, CBS": {change: func(c *sas.ConnectionString) { c.Key = wrong }, want: service.ErrUnauthorized, text: "sign in to localhost:5671: $cbs: not authorized: status 401: The specified SAS token has an invalid signature."},
		"no such policy": {change: func(c *sas.ConnectionString) { c.SharedAccessKeyName = "nobody" }, want: service.ErrUnauthorized, text: "policy nobody does not exist"},
		"another hub":    {change: func(c *sas.ConnectionString) { c.HostName = "hub.example" }, want: service.ErrUnauthorized, text: "another hub"},
		"without right":  {policy: "device", want: service.ErrUnauthorized, text: "amqp:unauthorized-access"},
		"too large":      {cmd: big, text: "65537 bytes"},
		// The hub counts properties too.
		"too large with properties": {cmd: tight, text: "amqp:link:message-size-exceeded (413001)"},
		"unknown ack":               {cmd: &service.Command{ID: "x", Ack: "maybe"}, text: "iothub-ack"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, b *bed) {
				if _, err := b.AddDevice("pi-17"); err != nil {
					t.Fatal(err)
				}
				if test.policy == "" {
					test.policy = "service"
				}
				cs := b.policy(test.policy)
				if test.change != nil {
					test.change(&cs)
				}
				if test.device == "" {
					test.device = "pi-17"
				}
				if test.cmd == nil {
					test.cmd = &service.Command{ID: "x"}
				}
				err := b.clientBy(test.auth, cs).Send(t.Context(), test.device, test.cmd)
				if err == nil || !strings.Contains(err.Error(), test.text) || (test.want != nil && !errors.Is(err, test.want)) {
					t.Fatalf("got %v, want %q", err, test.text)
				}
				for _, secret := range []string{cs.Key.Text(), "SharedAccessSignature"} {
					if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, secret) {
						t.Errorf("%s stands in %s", secret, text)
					}
				}
				if n := b.Queued("pi-17"); n != 0 {
					t.Errorf("%d commands are queued", n)
				}
			})
		})
	}
}

func TestTheFiftyFirstCommandIsOneTooMany(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		if _, err := b.AddDevice("pi-17"); err != nil {
			t.Fatal(err)
		}
		c := b.service()
		for n := range 50 {
			if err := c.Send(t.Context(), "pi-17", &service.Command{ID: fmt.Sprint(n)}); err != nil {
				t.Fatalf("command %d: %v", n+1, err)
			}
		}
		if err := c.Send(t.Context(), "pi-17", &service.Command{ID: "51"}); !errors.Is(err, service.ErrQueueFull) {
			t.Errorf("command 51: %v", err)
		}
		if n := b.Queued("pi-17"); n != 50 {
			t.Errorf("%d queued", n)
		}
	})
}

func TestSendAnswersTheCallersDeadlineWhenTheHubIsSilent(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		if _, err := b.AddDevice("pi-17"); err != nil {
			t.Fatal(err)
		}
		b.BlackHole(true)
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		started := time.Now()
		if err := b.service().Send(ctx, "pi-17", &service.Command{ID: "x"}); err == nil {
			t.Error("sent into a black hole")
		}
		if took := time.Since(started); took > 8*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestSendSaysWhereItCouldNotConnect(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.RefuseConnections(true)
		err := b.service().Send(t.Context(), "pi-17", &service.Command{ID: "x"})
		if err == nil || !strings.HasPrefix(err.Error(), "connect to localhost:5671: ") {
			t.Errorf("got %v", err)
		}
	})
}

func TestNewChecksTheConnectionString(t *testing.T) {
	const key = "a2V5a2V5a2V5a2V5"
	if cs, err := sas.ParseConnectionString("HostName=hub.example;SharedAccessKeyName=service;SharedAccessKey=" + key); err != nil {
		t.Fatal(err)
	} else {
		for _, o := range []*service.Options{{Connection: cs, Auth: "basic"}, {Connection: cs, HTTPS: "hub.example"}} {
			if _, err := service.New(o); err == nil || strings.Contains(err.Error(), key) {
				t.Errorf("auth %q, HTTPS %q: %v", o.Auth, o.HTTPS, err)
			}
		}
	}
	for text, want := range map[string]string{
		"HostName=hub.example;SharedAccessKeyName=service;SharedAccessKey=" + key:                                             "hub.example:5671",
		"HostName=hub.example:8883;SharedAccessKeyName=service;SharedAccessKey=" + key:                                        "hub.example:8883",
		"HostName=[::1]:15671;SharedAccessKeyName=service;SharedAccessKey=" + key:                                             "[::1]:15671",
		"HostName=[::1];SharedAccessKeyName=service;SharedAccessKey=" + key:                                                   "[::1]:5671",
		"HostName=hub.example;DeviceId=pi-17;SharedAccessKey=" + key:                                                          "",
		"Endpoint=sb://x/;SharedAccessKeyName=service;SharedAccessKey=" + key:                                                 "",
		"HostName=hub.example;SharedAccessSignature=SharedAccessSignature sr=x&sig=eA%3D%3D&se=1;SharedAccessKeyName=service": "",
	} {
		cs, err := sas.ParseConnectionString(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var dialled string
		c, err := service.New(&service.Options{Connection: cs, Dial: func(_ context.Context, addr string) (net.Conn, error) {
			dialled = addr
			return nil, errors.New("enough")
		}})
		switch {
		case want == "" && err == nil:
			t.Errorf("%s: no error", cs)
		case want == "" && strings.Contains(err.Error(), key):
			t.Errorf("the key stands in %v", err)
		case want == "":
		case err != nil:
			t.Errorf("%s: %v", cs, err)
		default:
			_ = c.Send(t.Context(), "pi-17", &service.Command{ID: "x"}) // for where it goes
			if dialled != want {
				t.Errorf("%s: dialled %s, want %s", cs, dialled, want)
			}
		}
	}
}
