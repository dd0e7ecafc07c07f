//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"iotagent/hubsim"
)

// sim is hubsim in the test's process, with its faults at hand, behind TLS and HTTPS on loopback.
type sim struct {
	*hubsim.Server
	t            *testing.T
	dir          string
	amqps, https string       // ports
	dials        atomic.Int64 // connections, REST included
}

func port(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String()) // it has one
	return port
}

// newSim starts a hub that knows one device.
func newSim(t *testing.T, o hubsim.Options) *sim {
	t.Helper()
	s := &sim{t: t, dir: t.TempDir()}
	o.StateDir = s.dir
	var err error
	if s.Server, err = hubsim.New(&o); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddDevice(device); err != nil {
		t.Fatal(err)
	}
	amqps, err := s.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	https, err := s.ListenHTTPS(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.amqps, s.https = port(amqps), port(https)
	served := make(chan error, 2)
	ctx := context.WithoutCancel(t.Context())
	go func() { served <- s.Serve(ctx, &counter{amqps, &s.dials}) }()
	go func() { served <- s.ServeHTTPS(ctx, &counter{https, &s.dials}) }()
	t.Cleanup(func() {
		for _, err := range []error{s.Close(), <-served, <-served} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// counter counts accepted connections.
type counter struct {
	net.Listener
	n *atomic.Int64
}

func (c *counter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

// until waits for a state of the hub.
func (s *sim) until(what string, cond func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.WaitFor(ctx, cond); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// driver is a Node process around one of Microsoft's SDKs.
type driver struct {
	*process
	seen map[string]int // for each event, how many lines await has passed for it
}

// reply is one line of a driver.
type reply struct {
	Event, What, Name, Text              string
	ID, Correlation, Body, Ack, To, Code string
	Device                               string
	Expiry                               int64
	Status                               int
	Properties                           json.RawMessage
	Payload, Record, Result              json.RawMessage
}

func (s *sim) drive(script string, config object) *driver {
	s.t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		s.t.Fatal(err)
	}
	name := filepath.Join(s.t.TempDir(), "config.json")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	env := []string{"NODE_EXTRA_CA_CERTS=" + filepath.Join(s.dir, "ca.pem"), "PORTS=443=" + s.https + ",5671=" + s.amqps}
	d := &driver{seen: map[string]int{}, process: start(s.t, node(s.t), env, filepath.Join("sdk", script), name)}
	d.await("ready")
	return d
}

// device starts the device SDK with a connection string as hubsim writes it; with "amqp-ws" as the SDK needs it for port 443.
func (s *sim) device(transport string, more object) *driver {
	s.t.Helper()
	cs := s.Devices()[device]
	if transport == "amqp-ws" {
		cs.GatewayHostName = ""
	}
	config := object{"transport": transport, "ca": filepath.Join(s.dir, "ca.pem"), "connection": cs.Text()}
	for k, v := range more {
		config[k] = v
	}
	d := s.drive("device.js", config)
	d.do("options", nil)
	d.await("options")
	return d
}

// service starts the service SDK with the rights of a policy.
func (s *sim) service(transport, policy string) *driver {
	s.t.Helper()
	cs, err := s.ServiceConnection(policy)
	if err != nil {
		s.t.Fatal(err)
	}
	portless := cs
	portless.HostName = "localhost"
	config := object{"transport": transport, "amqp": cs.Text(), "https": portless.Text()}
	if transport == "amqp-ws" {
		config["amqp"] = portless.Text()
	}
	return s.drive("service.js", config)
}

// do gives an order.
func (d *driver) do(what string, more object) {
	d.t.Helper()
	order := object{"do": what}
	for k, v := range more {
		order[k] = v
	}
	d.order(order)
}

// await returns the next line of that event, whatever else comes between; a failure that nobody waited for fails the test.
func (d *driver) await(event string) reply {
	d.t.Helper()
	var r reply
	d.until(event, func(lines []string) bool {
		for i, line := range lines {
			r = reply{}
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				d.t.Errorf("%s: %v", line, err)
			}
			if i >= d.seen[r.Event] && (r.Event == event || r.Event == "failed") {
				d.seen[r.Event] = i + 1
				return true
			}
		}
		return false
	})
	if r.Event != event {
		d.t.Fatalf("%s: waited for %q, got %s: %s: %s", d.name, event, r.What, r.Name, r.Text)
	}
	return r
}

// fails returns the next failure.
func (d *driver) fails() string {
	d.t.Helper()
	r := d.await("failed")
	return fmt.Sprintf("%s: %s: %s", r.What, r.Name, r.Text)
}

// tell gives an order and waits for the event that says it was carried out.
func (d *driver) tell(what string, more object, event string) reply {
	d.t.Helper()
	d.do(what, more)
	return d.await(event)
}
