package iothub_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/hubsim"
	"iotagent/iothub"
	"iotagent/iothub/transport"
)

// roads leads every host to the bed's hub and takes note of who was dialled.
type roads struct {
	*bed
	// before runs before each connection, with its host.
	before func(host string)

	mu     sync.Mutex
	dialed []transport.Endpoint
	closed map[string]error
	opens  []*spy
}

// spy keeps what a client writes first.
type spy struct {
	net.Conn
	mu    sync.Mutex
	bytes []byte
}

func (s *spy) Write(p []byte) (int, error) {
	s.mu.Lock()
	if len(s.bytes) < 8192 {
		s.bytes = append(s.bytes, p...)
	}
	s.mu.Unlock()
	return s.Conn.Write(p)
}

func (s *spy) wrote(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Contains(s.bytes, []byte(text))
}

func (r *roads) dial(ctx context.Context, to transport.Endpoint) (net.Conn, error) {
	r.mu.Lock()
	r.dialed = append(r.dialed, to)
	closed := r.closed[to.Host]
	r.mu.Unlock()
	if closed != nil {
		return nil, closed
	}
	if r.before != nil {
		r.before(to.Host)
	}
	conn, err := r.Dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &spy{Conn: conn}
	r.mu.Lock()
	r.opens = append(r.opens, s)
	r.mu.Unlock()
	return s, nil
}

// hosts returns the hosts that were dialled since the last call.
func (r *roads) hosts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, e := range r.dialed {
		all = append(all, e.Host)
	}
	r.dialed = nil
	return all
}

func (r *roads) close(host string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = map[string]error{host: err}
}

// moved runs a test with a hub that is known as hub.example too, which is where redirects lead to.
func moved(t *testing.T, f func(t *testing.T, r *roads, d *iothub.Dialer)) {
	t.Helper()
	run(t, &hubsim.Options{Hostname: "hub.example"}, func(t *testing.T, b *bed) {
		r := &roads{bed: b}
		o := b.options()
		o.Dial = r.dial
		f(t, r, iothub.NewDialer(o))
	})
}

// connect dials and closes the client when the test ends.
func connect(t *testing.T, d *iothub.Dialer) *iothub.Client {
	t.Helper()
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, c) })
	if o := send(t, c, 1); o.State != iothub.Accepted {
		t.Fatalf("outcome %+v", o)
	}
	return c
}

func expect(t *testing.T, r *roads, what string, hosts ...string) {
	t.Helper()
	if diff := cmp.Diff(hosts, r.hosts()); diff != "" {
		t.Errorf("%s: hosts dialled (-want +got):\n%s", what, diff)
	}
}

func TestRedirectedConnection(t *testing.T) {
	moved(t, func(t *testing.T, r *roads, d *iothub.Dialer) {
		r.RedirectNextConnection(hubsim.Target{Host: "10.0.0.7", Port: 5672, Hostname: "hub.example"})
		c := connect(t, d)
		want := []transport.Endpoint{{Host: "localhost", Name: "localhost"}, {Host: "10.0.0.7", Port: 5672, Name: "hub.example"}}
		if diff := cmp.Diff(want, r.dialed); diff != "" {
			t.Errorf("dialled (-want +got):\n%s", diff)
		}
		if !r.opens[0].wrote("localhost") || r.opens[1].wrote("localhost") || !r.opens[1].wrote("hub.example") {
			t.Error("the open does not carry the name of the place")
		}
		r.hosts()
		closeNow(t, c)
		c = connect(t, d)
		expect(t, r, "while it holds", "10.0.0.7")

		r.close("10.0.0.7", syscall.ECONNREFUSED)
		closeNow(t, c)
		c = connect(t, d)
		expect(t, r, "when it is gone", "10.0.0.7", "localhost")
		closeNow(t, c)
		connect(t, d)
		expect(t, r, "afterwards", "localhost")
	})
}

// On the port of AMQP over TLS the transport may use its other ways, WebSocket or a port that was configured for it.
func TestRedirectToTheUsualPort(t *testing.T) {
	moved(t, func(t *testing.T, r *roads, d *iothub.Dialer) {
		r.RedirectNextConnection(hubsim.Target{Host: "hub.example", Port: 5671})
		connect(t, d)
		if got := r.dialed[1]; got != (transport.Endpoint{Host: "hub.example", Name: "hub.example"}) {
			t.Errorf("dialled %+v", got)
		}
	})
}

// A bare address is no hub's name: the token stays one for the hub's own.
func TestRedirectToAnAddress(t *testing.T) {
	moved(t, func(t *testing.T, r *roads, d *iothub.Dialer) {
		r.RedirectNextConnection(hubsim.Target{Host: "10.0.0.7", Port: 5671})
		connect(t, d)
		if got := r.dialed[1]; got.Host != "10.0.0.7" || got.Name != "10.0.0.7" {
			t.Errorf("dialled %+v", got)
		}
	})
}

func TestRedirectedLinkAtItsAttach(t *testing.T) {
	for _, node := range []string{"messages/events", "messages/devicebound"} {
		moved(t, func(t *testing.T, r *roads, d *iothub.Dialer) {
			address := "/devices/" + device + "/" + node
			there := strings.ToUpper(address[1:9]) + address[9:]
			r.RedirectOnce(address, hubsim.Target{Host: "10.0.0.7", Port: 5671, Hostname: "hub.example", Address: there})
			connect(t, d)
			expect(t, r, node, "localhost", "10.0.0.7")
			if !r.opens[1].wrote("/" + there) {
				t.Errorf("%s: no link at %s", node, there)
			}
		})
	}
}

func TestRedirectOfARunningLink(t *testing.T) {
	for _, node := range []string{"messages/events", "messages/devicebound"} {
		moved(t, func(t *testing.T, r *roads, d *iothub.Dialer) {
			c := connect(t, d)
			if n := r.RedirectOnce("/devices/"+device+"/"+node, hubsim.Target{Host: "10.0.0.7", Port: 5671, Hostname: "hub.example"}); n != 1 {
				t.Fatalf("%d links redirected", n)
			}
			e := want(t, ended(t, c, time.Second), iothub.ClassRedirect)
			wanted := &iothub.Redirect{Host: "10.0.0.7", Port: 5671, Hostname: "hub.example", Address: "/devices/" + device + "/" + node}
			if diff := cmp.Diff(wanted, e.Redirect); diff != "" {
				t.Errorf("redirect (-want +got):\n%s", diff)
			}
			closeNow(t, c)
			c = connect(t, d)
			expect(t, r, node, "localhost", "10.0.0.7")
			closeNow(t, c)
			connect(t, d)
			expect(t, r, node, "10.0.0.7")
		})
	}
}

// A link that was sent away may be sent back to where it was: that is a way to say "attach again".
func TestRunningLinkRedirectedToItself(t *testing.T) {
	moved(t, func(t *testing.T, r *roads, d *iothub.Dialer) {
		c := connect(t, d)
		r.RedirectOnce("/devices/"+device+"/messages/events", hubsim.Target{Host: "localhost", Port: 5671})
		want(t, ended(t, c, time.Second), iothub.ClassRedirect)
		closeNow(t, c)
		connect(t, d)
		expect(t, r, "both", "localhost", "localhost")
	})
}

func TestRedirectsInACircle(t *testing.T) {
	moved(t, func(t *testing.T, r *roads, d *iothub.Dialer) {
		r.before = func(host string) {
			next := map[string]string{"localhost": "b.example", "b.example": "localhost"}[host]
			r.RedirectNextConnection(hubsim.Target{Host: next, Port: 5671})
		}
		_, err := d.Dial(t.Context())
		e := want(t, err, iothub.ClassRedirect)
		if e.Hint == "" || !strings.Contains(e.Error(), "circle: localhost → b.example → localhost") {
			t.Errorf("%v, hint %q", e, e.Hint)
		}
		expect(t, r, "circle", "localhost", "b.example")
		r.before = nil
		r.ResetFaults()
		connect(t, d)
		expect(t, r, "afterwards", "localhost")
	})
}

func TestTooManyRedirects(t *testing.T) {
	for n, ok := range map[int]bool{3: true, 4: false} {
		moved(t, func(t *testing.T, r *roads, d *iothub.Dialer) {
			names := []string{"localhost", "b.example", "c.example", "d.example", "e.example"}
			r.before = func(host string) {
				if i := slices.Index(names, host); i < n {
					r.RedirectNextConnection(hubsim.Target{Host: names[i+1], Port: 5671, Hostname: "hub.example"})
				}
			}
			c, err := d.Dial(t.Context())
			if ok {
				if err != nil {
					t.Fatal(err)
				}
				closeNow(t, c)
				expect(t, r, "three", names[:4]...)
				return
			}
			if e := want(t, err, iothub.ClassRedirect); !strings.Contains(e.Error(), "d.example → e.example") || e.Hint == "" {
				t.Errorf("%v, hint %q", e, e.Hint)
			}
			expect(t, r, "four", names[:4]...)
		})
	}
}

// Where a redirect led to may refuse the device, or not be a hub at all: the device's own hub is asked in the same Dial.
func TestRedirectThatNoLongerHolds(t *testing.T) {
	faults := map[string]func(r *roads){
		"token":  func(r *roads) { r.RejectNextTokens(2, 401, "Unauthorized") },
		"attach": func(r *roads) { r.RefuseNextAttach("/devices/"+device+"/messages/events", "amqp:not-found", "") },
		"cert": func(r *roads) {
			r.close("10.0.0.7", &transport.Error{Op: "tls", Addr: "10.0.0.7:5671", Err: errors.New("x")})
		},
		"back": func(r *roads) { r.RedirectNextConnection(hubsim.Target{Host: "localhost", Port: 5671}) },
	}
	for name, fault := range faults {
		moved(t, func(t *testing.T, r *roads, d *iothub.Dialer) {
			r.RedirectNextConnection(hubsim.Target{Host: "10.0.0.7", Port: 5671, Hostname: "hub.example"})
			closeNow(t, connect(t, d))
			r.hosts()
			fault(r)
			closeNow(t, connect(t, d))
			expect(t, r, name, "10.0.0.7", "localhost")
			connect(t, d)
			expect(t, r, name+", afterwards", "localhost")
		})
	}
}

// What a hub that is busy says would be no better elsewhere, and the redirect still holds.
func TestRedirectHoldsWhileTheHubIsBusy(t *testing.T) {
	moved(t, func(t *testing.T, r *roads, d *iothub.Dialer) {
		r.RedirectNextConnection(hubsim.Target{Host: "10.0.0.7", Port: 5671, Hostname: "hub.example"})
		closeNow(t, connect(t, d))
		r.hosts()
		r.RefuseNextAttach("/devices/"+device+"/messages/events", "com.microsoft:device-container-throttled", "")
		_, err := d.Dial(t.Context())
		want(t, err, iothub.ClassThrottled)
		connect(t, d)
		expect(t, r, "busy", "10.0.0.7", "10.0.0.7")
	})
}

// The place that the hub names does not answer, and the hub names it again: the error is that place's, and the hub was asked once more.
func TestRedirectToNowhere(t *testing.T) {
	moved(t, func(t *testing.T, r *roads, d *iothub.Dialer) {
		r.before = func(string) {
			r.RedirectNextConnection(hubsim.Target{Host: "10.0.0.7", Port: 5671, Hostname: "hub.example"})
		}
		r.close("10.0.0.7", syscall.EHOSTUNREACH)
		for range 2 {
			_, err := d.Dial(t.Context())
			want(t, err, iothub.ClassNetwork)
			expect(t, r, "nowhere", "localhost", "10.0.0.7")
		}
	})
}
