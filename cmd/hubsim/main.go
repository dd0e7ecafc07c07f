// Command hubsim is a local Azure IoT Hub for devices and services that speak AMQP over TLS.
package main

import (
	"context"
	"os"

	"iotagent/internal/cli"
)

const description = `A local Azure IoT Hub: devices and services connect to it over AMQP with TLS, with connection strings that it writes into files.
With --https also over WebSocket, and services over REST. Identities, keys, queued commands, feedback and telemetry stay in --state over restarts, a kill included; twins do not.`

func main() {
	ctx, stop := cli.Interrupted(context.Background())
	defer stop()
	os.Exit(Main(ctx, os.Args[1:], cli.Std()))
}

// Main runs one command line and returns the exit status.
func Main(ctx context.Context, args []string, std cli.IO) int {
	return cli.Run(ctx, "hubsim", description, args, new(program), std)
}
