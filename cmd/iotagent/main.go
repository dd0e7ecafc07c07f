// Command iotagent reads sensors, keeps what they say until Azure IoT Hub has it, and carries out commands. README.md tells how to start.
package main

import (
	"context"
	"os"

	"iotagent/internal/cli"
)

// program is the command line.
type program struct {
	Config string `help:"Configuration file; conf.d/*.toml beside it is read too." default:"/etc/iotagent/iotagent.toml" placeholder:"FILE" env:"IOTAGENT_CONFIG"`

	Run     runCommand         `cmd:"" help:"Read sensors, send telemetry, carry out commands (the daemon)."`
	Check   checkCommand       `cmd:"" help:"Say whether the configuration is right and what it will cost."`
	Read    readCommand        `cmd:"" help:"Take one reading of each sensor and print it."`
	Scan    scanCommand        `cmd:"" help:"Find buses, chips, ports and lines, and print a configuration to start from."`
	Send    sendCommand        `cmd:"" help:"Put messages of your own into the outbox."`
	Status  statusCommand      `cmd:"" help:"Say what the daemon is doing."`
	Queue   queueCommand       `cmd:"" help:"Look into the outbox, take out, check, repair and purge what is queued."`
	Version cli.VersionCommand `cmd:"" help:"Print the version."`
	Safe    safeCommand        `cmd:"" hidden:"" help:"Bring every output to its safe state (for the unit's stop hook)."`
}

func main() {
	ctx, stop := cli.Interrupted(context.Background())
	defer stop()
	os.Exit(Main(ctx, os.Args[1:], cli.Std()))
}

// Main runs one command line and returns the exit status.
func Main(ctx context.Context, args []string, std cli.IO) int {
	var p program
	return cli.Run(ctx, "iotagent", "Sensors to Azure IoT Hub, commands back; nothing lost on the way.", args, &p, std, bindConfig(&p))
}
