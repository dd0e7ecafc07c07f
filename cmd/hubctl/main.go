// Command hubctl is the cloud side of a device fleet: it sends commands, watches their feedback and follows telemetry.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/alecthomas/kong"

	"iotagent/internal/cli"
	"iotagent/iothub/sas"
	"iotagent/iothub/service"
)

// program is the command line.
type program struct {
	hub

	Send     sendCommand        `cmd:"" help:"Send a command to a device and print its message-id."`
	Feedback feedbackCommand    `cmd:"" help:"Watch the outcomes of commands that were sent with --ack."`
	Events   eventsCommand      `cmd:"" help:"Follow telemetry from all partitions."`
	Version  cli.VersionCommand `cmd:"" help:"Print the version."`
}

// hub says which hub, and with what key.
type hub struct {
	ConnectionStringFile string `help:"File with a service connection string (hubsim writes service.connection-string)." placeholder:"FILE" env:"HUBCTL_CONNECTION_STRING_FILE"`
	CA                   string `name:"ca" help:"PEM file with the authority of a private hub (hubsim writes ca.pem)." placeholder:"FILE" env:"HUBCTL_CA"`
}

func main() {
	ctx, stop := cli.Interrupted(context.Background())
	defer stop()
	os.Exit(Main(ctx, os.Args[1:], cli.Std()))
}

// Main runs one command line and returns the exit status.
func Main(ctx context.Context, args []string, std cli.IO) int {
	var p program
	return cli.Run(ctx, "hubctl", "The cloud side of Azure IoT Hub: send commands, watch feedback, follow telemetry.", args, &p, std, kong.Bind(&p.hub))
}

// client reads the connection string and returns the way to the hub.
func (h *hub) client() (*service.Client, error) {
	if h.ConnectionStringFile == "" {
		return nil, cli.Fail(cli.Usage, errors.New("no hub given"), "give --connection-string-file FILE, or set HUBCTL_CONNECTION_STRING_FILE")
	}
	text, err := os.ReadFile(h.ConnectionStringFile)
	if err != nil {
		return nil, cli.Fail(cli.Config, fmt.Errorf("connection string: %w", err), "")
	}
	cs, err := sas.ParseConnectionString(string(text))
	if err != nil {
		return nil, cli.Fail(cli.Config, fmt.Errorf("%s: %w", h.ConnectionStringFile, err), "")
	}
	cfg, err := h.roots()
	if err != nil {
		return nil, cli.Fail(cli.Config, err, "")
	}
	c, err := service.New(&service.Options{Connection: cs, TLS: cfg})
	if err != nil {
		return nil, cli.Fail(cli.Config, fmt.Errorf("%s: %w", h.ConnectionStringFile, err), "")
	}
	return c, nil
}

func (h *hub) roots() (*tls.Config, error) {
	if h.CA == "" {
		return nil, nil //nolint:nilnil // nil means the system's roots
	}
	pem, err := os.ReadFile(h.CA)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca: %s holds no certificate in PEM form", h.CA)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
}

// advise adds what to do about the errors that a person can mend; nil stays nil.
func advise(err error) error {
	return cli.Fail(cli.Failed, err, hintFor(err))
}

func hintFor(err error) string {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, otherName := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, noName := errors.AsType[*net.DNSError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, service.ErrUnauthorized):
		return "check the connection string's policy and key; it needs the right \"service connect\""
	case errors.Is(err, service.ErrDeviceUnknown):
		return "check the device's name (letter case counts)"
	case errors.Is(err, service.ErrQueueFull):
		return "fifty commands wait already: is the device connected?"
	case unknown:
		return "for a private hub give its authority with --ca FILE; hubsim writes ca.pem"
	case otherName:
		return "the certificate is for another name: check HostName in the connection string"
	case invalid:
		return "check this machine's clock, then the hub's certificate"
	case noName:
		return "check HostName in the connection string"
	case isOp && op.Op == "dial":
		return "is the hub there, and the way to its port (AMQP over TLS, 5671) open?"
	}
	return ""
}
