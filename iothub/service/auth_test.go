package service_test

import (
	"strings"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
	"iotagent/iothub/service"
)

func TestBothWaysToSignIn(t *testing.T) {
	for name, o := range map[string]*hubsim.Options{"redirected": {}, "served by the hub itself": {DirectEvents: true}} {
		for auth, requests := range map[service.Auth]int{service.AuthCBS: 4, service.AuthPlain: 0} { // send, feedback, and events of two hubs
			t.Run(name+", "+string(auth), func(t *testing.T) {
				run(t, o, func(t *testing.T, b *bed) {
					if o.DirectEvents {
						requests = min(requests, 3)
					}
					device := b.device("pi-17")
					before := b.TokenRequests()
					c := b.clientBy(auth, b.policy("service"))
					if err := c.Send(hour(t), "pi-17", &service.Command{ID: "x", Ack: service.AckFull}); err != nil {
						t.Fatal(err)
					}
					settle(t, device, receive(t, device), iothub.Accept)
					if err := c.Feedback(hour(t), nil, func([]service.Feedback) (bool, error) { return false, nil }); err != nil {
						t.Error(err)
					}
					telemetry(t, device, 0, 1)
					if err := c.Events(hour(t), nil, func(*service.Event) bool { return false }); err != nil {
						t.Error(err)
					}
					if n := b.TokenRequests() - before; n != requests {
						t.Errorf("%d token requests, want %d", n, requests)
					}
				})
			})
		}
	}
}

// Tokens live an hour; a connection that renews its own lives on.
func TestTokensAreRenewed(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		device := b.device("pi-17")
		f := b.follow(&service.EventsOptions{})
		for n := range 10 {
			telemetry(t, device, n, n+1)
			f.collect(t, 1)
			time.Sleep(time.Hour)
		}
		if len(f.lost) > 0 {
			t.Errorf("the connection was lost: %v", <-f.lost)
		}
		f.end(t)
	})
}

// A renewal that fails for a while is tried again, while the old token lives.
func TestARenewalThatIsRefusedIsRepeated(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		f := b.follow(&service.EventsOptions{})
		b.RejectNextTokens(5, 500, "not now")
		time.Sleep(3 * time.Hour)
		if len(f.lost) > 0 {
			t.Errorf("the connection was lost: %v", <-f.lost)
		}
		f.end(t)
	})
}

// Where no token is taken in time, the connection is made anew before the hub cuts it, and the reason is heard.
func TestAConnectionEndsBeforeItsToken(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		f := b.follow(&service.EventsOptions{})
		started := time.Now()
		b.RejectNextTokens(100, 500, "not now")
		<-f.lost
		if took := time.Since(started); took < 50*time.Minute || took > time.Hour {
			t.Errorf("lost after %v", took)
		}
		if err := <-f.lost; !strings.HasSuffix(err.Error(), "$cbs: status 500: not now") {
			t.Errorf("lost: %v", err)
		}
		b.RejectNextTokens(0, 0, "")
		<-f.ready
		telemetry(t, b.device("pi-17"), 0, 3)
		bodies(t, f.collect(t, 3))
		f.end(t)
	})
}

// A hub that never answers a token request is not waited for without end.
func TestASilentTokenNode(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		if _, err := b.AddDevice("pi-17"); err != nil {
			t.Fatal(err)
		}
		b.OnToken(func(int) hubsim.TokenVerdict { return hubsim.TokenVerdict{Swallow: true} })
		started := time.Now()
		err := b.service().Send(hour(t), "pi-17", &service.Command{ID: "x"})
		if err == nil || !strings.Contains(err.Error(), "the hub did not answer a token request") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(started); took > 31*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
