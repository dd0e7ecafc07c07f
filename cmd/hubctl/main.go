// Command hubctl is the cloud side of a device fleet: it sends commands, watches their feedback, follows telemetry and
// manages devices, their twins and their methods.
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
	Events   eventsCommand      `cmd:"" help:"Follow telemetry, from all partitions or some."`
	Device   deviceCommand      `cmd:"" help:"Manage the hub's registry of devices."`
	Twin     twinCommand        `cmd:"" help:"Show and change what the hub keeps for a device."`
	Call     callCommand        `cmd:"" help:"Call a direct method of a device and print the answer."`
	Sim      simCommand         `cmd:"" help:"Show what a hubsim is doing and switch its faults."`
	Version  cli.VersionCommand `cmd:"" help:"Print the version."`
}

// hub says which hub, and with what key.
type hub struct {
	ConnectionStringFile string `help:"File with a service connection string (hubsim writes service.connection-string)." placeholder:"FILE" env:"HUBCTL_CONNECTION_STRING_FILE"`
	Auth                 string `help:"How to sign in: ${enum} (default: ${default}). plain sends a token with SASL PLAIN, after a redirect the key." enum:"cbs,plain" default:"cbs" env:"HUBCTL_AUTH"`
	HTTPS                string `name:"https" help:"Address of the REST API, for device, twin and call; default the hub's name and port 443 (hubsim's is that of its --https)." placeholder:"HOST:PORT" env:"HUBCTL_HTTPS"`
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
	return cli.Run(ctx, "hubctl", "The cloud side of Azure IoT Hub: send commands, watch feedback, follow telemetry, manage devices.", args, &p, std, kong.Bind(&p.hub), kong.Bind(&p.Sim))
}

// client reads the connection string and returns the way to the hub.
func (h *hub) client() (*service.Client, error) {
	if h.ConnectionStringFile == "" {
		return nil, cli.Fail(cli.Usage, errors.New("no hub given"), "give --connection-string-file FILE, or set HUBCTL_CONNECTION_STRING_FILE")
	}
	if _, _, err := net.SplitHostPort(h.HTTPS); err != nil && h.HTTPS != "" {
		return nil, cli.Fail(cli.Usage, fmt.Errorf("--https: %w", err), "give host and port, as in --https localhost:443")
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
	c, err := service.New(&service.Options{Connection: cs, Auth: service.Auth(h.Auth), HTTPS: h.HTTPS, TLS: cfg})
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

// adviseHTTPS is advise for what goes over the REST API.
func (h *hub) adviseHTTPS(err error) error {
	op, isOp := errors.AsType[*net.OpError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	hint := hintFor(err)
	switch {
	case errors.Is(err, service.ErrUnauthorized):
		hint = "check the connection string's policy and key: device needs the rights \"registry read\" and \"registry write\" (iothubowner; hubsim writes owner.connection-string), twin and call \"service connect\""
	case notTLS, isOp && op.Op == "dial":
		hint = "is the way to the REST API (HTTPS, 443) open? hubsim has one when started with --https ADDR; then give --https ADDR here too"
	}
	return cli.Fail(cli.Failed, err, hint)
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
	case errors.Is(err, service.ErrDeviceExists):
		return "show it with: hubctl device show DEVICE"
	case errors.Is(err, service.ErrDeviceOffline):
		return "is the device connected, and does it take methods? --connect-timeout 60s waits for it"
	case errors.Is(err, service.ErrMethodTimeout):
		return "the device may have done it; --timeout gives it longer"
	case errors.Is(err, service.ErrChanged):
		return "get it again and decide anew; its etag is another now"
	case errors.Is(err, service.ErrQuota):
		return "the quota begins anew at midnight UTC; more units or another tier raise it"
	case errors.Is(err, service.ErrThrottled):
		return "wait a little, then try again"
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
