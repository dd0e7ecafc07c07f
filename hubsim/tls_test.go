package hubsim_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

func TestOverTLSOnLoopback(t *testing.T) {
	b := newBed(t, &hubsim.Options{Hostname: "localhost"})
	l, err := b.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(t.Context(), l) }()
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: b.CertPool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}}
	nc, err := dialer.DialContext(stepContext(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := openClient(t, nc, nil)
	c.authorize(b.deviceToken(time.Hour))
	accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage(make([]byte, 200_000))))
	service := b.connectService()
	if u, _ := redirected(t, service, "messages/events"); u.Host != "localhost:"+portOf(l.Addr().String()) {
		t.Errorf("redirect to %s, want the port of %s", u.Host, l.Addr())
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve ended with %v", err)
	}
}

func portOf(addr string) string { return addr[len("127.0.0.1:"):] }
