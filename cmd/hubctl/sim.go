package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"iotagent/internal/cli"
	"iotagent/internal/simctl"
)

// simCommand is hubctl sim: the faults of a local hub. They last until they are switched off, used up, or hubctl sim reset.
type simCommand struct {
	Control string `help:"Where hubsim listens for this: a path, or HOST:PORT (default: control.sock beside the connection string's file)." placeholder:"PATH|ADDR" env:"HUBSIM_CONTROL"`

	Status     simStatus     `cmd:"" help:"Show connections, devices, and the faults that are on."`
	Reset      simReset      `cmd:"" help:"End all faults."`
	Drop       simDrop       `cmd:"" help:"Cut every connection without a word."`
	Close      simClose      `cmd:"" help:"Close every connection with a condition."`
	End        simEnd        `cmd:"" help:"End the sessions of all links but those to $$cbs."`
	Detach     simDetach     `cmd:"" help:"Detach the links to an address."`
	Attach     simAttach     `cmd:"" help:"Refuse the next link to an address."`
	Deaf       simDeaf       `cmd:"" help:"Lose the links to an address without a word, while others live on."`
	Redirect   simRedirect   `cmd:"" help:"Redirect a link, or the next connection, once."`
	Refuse     simRefuse     `cmd:"" help:"Refuse new connections."`
	Blackhole  simBlackhole  `cmd:"" help:"Swallow what connections carry."`
	Slow       simSlow       `cmd:"" help:"Read slowly."`
	Credit     simCredit     `cmd:"" help:"Set the credit of telemetry links; 0 stops them."`
	Window     simWindow     `cmd:"" help:"Set the incoming window of sessions; 0 stops them."`
	Ack        simAck        `cmd:"" help:"Lose, delay or change acknowledgements of telemetry."`
	Settlement simSettlement `cmd:"" help:"Lose settlements of commands, so that their locks bring them back."`
	Token      simToken      `cmd:"" help:"Reject or swallow put-token requests."`
	Throttle   simThrottle   `cmd:"" help:"Behave as over quota: settle slowly, then reject."`
	Clock      simClock      `cmd:"" help:"Set the hub's clock wrong."`
	Idle       simIdle       `cmd:"" help:"Refuse clients that announce a short idle timeout."`
	MuteEcho   simMuteEcho   `cmd:"" name:"mute-echo" help:"Answer no FLOW that asks for an echo."`
	Late       simLate       `cmd:"" help:"Send settlements also after the end of their link."`
	OmitID     simOmitID     `cmd:"" name:"omit-id" help:"Leave next-incoming-id out of FLOW frames, as some gateways did."`
}

type (
	simStatus struct {
		JSON bool `help:"Print JSON."`
	}
	simReset struct{}
	simDrop  struct {
		RST bool `name:"rst" help:"By a TCP reset in place of FIN."`
	}
	simClose struct {
		Condition   string `help:"Error condition; \"\" closes without one." default:"amqp:connection:forced"`
		Description string `help:"Its text."`
	}
	simEnd struct {
		Condition   string `help:"Error condition; \"\" ends without one." default:"amqp:internal-error"`
		Description string `help:"Its text."`
	}
	simDetach struct {
		Address     string `arg:"" optional:"" help:"Link address, such as /devices/pi-17/messages/events; without one all links but those to $$cbs."`
		Condition   string `help:"Error condition; \"\" detaches without one." default:"amqp:link:detach-forced"`
		Description string `help:"Its text." default:"Server Busy. Please retry operation"`
		Suspend     bool   `help:"By a DETACH that does not close the link."`
	}
	simAttach struct {
		Address     string `arg:"" help:"Link address."`
		Condition   string `help:"Error condition." default:"amqp:internal-error"`
		Description string `help:"Its text."`
		After       bool   `help:"Attach it first and detach it then."`
	}
	simDeaf struct {
		Mode    string `arg:"" help:"${enum}. now: the links of the moment, until they are attached anew; on: links to come too, whose ATTACH gets no answer." enum:"now,on,off"`
		Address string `arg:"" optional:"" help:"Link address; without one all links but those to $$cbs."`
	}
	simRedirect struct {
		Address string `arg:"" optional:"" help:"Link address: links that are attached now or, when there are none, the next one. Without it the next connection."`
		To      string `help:"Where to." placeholder:"HOST:PORT" required:""`
	}
	simRefuse struct {
		onOff
	}
	simBlackhole struct {
		Mode string `arg:"" help:"${enum}. in: from clients only; out: to clients only; tcp: below TLS, so that no handshake is answered." enum:"on,off,in,out,tcp"`
	}
	simSlow struct {
		Bytes number `arg:"" help:"Bytes a second from each connection, or off."`
	}
	simCredit struct {
		N number `arg:"" help:"Credit, or default."`
	}
	simWindow struct {
		N number `arg:"" help:"Transfer frames, or default."`
	}
	simAck struct {
		What        string        `arg:"" help:"${enum}. lose stores and never answers; clear ends all of these." enum:"lose,release,reject,modify,delay,clear"`
		Nth         int           `help:"Only this delivery from now on, counted from 1." placeholder:"N"`
		Every       int           `help:"Each N-th delivery; without this and --nth all of them." placeholder:"N"`
		Device      string        `help:"Only of this device, or DEVICE/MODULE." placeholder:"ID"`
		Condition   string        `help:"Error condition, for reject."`
		Description string        `help:"Its text."`
		Delay       time.Duration `help:"How long the answer waits." placeholder:"DURATION"`
	}
	simSettlement struct {
		N int `arg:"" help:"How many."`
	}
	simToken struct {
		What   string `arg:"" help:"${enum}." enum:"reject,swallow,clear"`
		Count  int    `help:"How many requests." default:"1"`
		Status int32  `help:"Status of the reply." default:"401"`
		Text   string `help:"Its text." default:"Unauthorized"`
	}
	simThrottle struct {
		onOff
		Rate     float64       `help:"Deliveries a second." default:"10"`
		Patience time.Duration `help:"How long an answer waits for its turn before the hub rejects instead." default:"5s"`
	}
	simClock struct {
		Offset []string `arg:"" help:"+1h, -90s, or 0." passthrough:""`
	}
	simIdle struct {
		Least time.Duration `arg:"" help:"The shortest idle timeout that is allowed; 0s is the default again."`
	}
	simMuteEcho struct {
		onOff
	}
	simLate struct {
		onOff
	}
	simOmitID struct {
		onOff
	}
)

// onOff is a switch as an argument.
type onOff struct {
	State string `arg:"" help:"${enum}." enum:"on,off"`
}

func (o onOff) on() bool { return o.State == "on" }

// number is a count or a word for its default.
type number int

// UnmarshalText reads it.
func (n *number) UnmarshalText(text []byte) error {
	if word := string(text); word == "default" || word == "off" {
		*n = simctl.Default
		return nil
	}
	var v int
	if _, err := fmt.Sscanf(string(text)+";", "%d;", &v); err != nil || v < 0 {
		return fmt.Errorf("%q: want a number or default", text)
	}
	*n = number(v)
	return nil
}

// at is where the hub listens.
func (c *simCommand) at(h *hub) (string, error) {
	switch {
	case c.Control != "":
		return c.Control, nil
	case h.ConnectionStringFile != "":
		return filepath.Join(filepath.Dir(h.ConnectionStringFile), simctl.Socket), nil
	}
	return "", cli.Fail(cli.Usage, errors.New("no hub given"), "give --control with what hubsim prints as control, or --connection-string-file")
}

// order sends a request and prints what it did at once; done has a %d for how many, or is "".
func (c *simCommand) order(ctx context.Context, std cli.IO, h *hub, r *simctl.Request, done string) error {
	at, err := c.at(h)
	if err != nil {
		return err
	}
	reply, err := simctl.Ask(ctx, at, r)
	if err != nil {
		return c.advise(err)
	}
	if done == "" {
		return nil
	}
	_, err = fmt.Fprintf(std.Out, done+"\n", reply.Done)
	return err
}

func (c *simCommand) advise(err error) error {
	hint := ""
	if errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "connection refused") {
		hint = "is hubsim running? --control takes what it prints as control"
	}
	return cli.Fail(cli.Failed, err, hint)
}

// Run prints the status.
func (c *simStatus) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	at, err := sim.at(h)
	if err != nil {
		return err
	}
	st, err := simctl.AskStatus(ctx, at)
	if err != nil {
		return sim.advise(err)
	}
	if c.JSON {
		return encoder(std.Out).Encode(st)
	}
	tw := tabwriter.NewWriter(std.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "hub\t%s\nconnections\t%d\nevents\t%d\nfeedback waiting\t%d\nclock off by\t%s\n", st.Hub, st.Connections, st.Events, st.Feedback, st.ClockOffset)
	for _, d := range st.Devices {
		state := fmt.Sprintf("%d links, %d commands, %d units metered today", len(d.Links), d.Commands, d.Metered)
		if d.Disabled {
			state += ", disabled"
		}
		fmt.Fprintf(tw, "device\t%s  %s\n", d.ID, state)
	}
	for _, f := range st.Faults {
		fmt.Fprintf(tw, "fault\t%s\n", f)
	}
	return tw.Flush()
}

// Run ends all faults.
func (*simReset) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "reset"}, "")
}

// Run cuts the connections.
func (c *simDrop) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "drop", RST: c.RST}, "%d connections dropped")
}

// Run closes the connections.
func (c *simClose) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "close", Condition: c.Condition, Description: c.Description}, "%d connections closed")
}

// Run ends the sessions.
func (c *simEnd) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "end", Condition: c.Condition, Description: c.Description}, "%d sessions ended")
}

// Run detaches the links.
func (c *simDetach) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	r := &simctl.Request{Action: "detach", Address: c.Address, Condition: c.Condition, Description: c.Description}
	if c.Suspend {
		r.Mode = "suspend"
	}
	return sim.order(ctx, std, h, r, "%d links detached")
}

// Run prepares the refusal.
func (c *simAttach) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	r := &simctl.Request{Action: "attach", Address: c.Address, Condition: c.Condition, Description: c.Description}
	if c.After {
		r.Mode = "after"
	}
	return sim.order(ctx, std, h, r, "")
}

// Run makes links deaf.
func (c *simDeaf) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	done := ""
	if c.Mode != "off" {
		done = "%d links are deaf"
	}
	return sim.order(ctx, std, h, &simctl.Request{Action: "deaf", Address: c.Address, Mode: c.Mode}, done)
}

// Run redirects.
func (c *simRedirect) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "redirect", Address: c.Address, To: c.To}, "%d links redirected now")
}

// Run switches the refusal of connections.
func (c *simRefuse) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "refuse", On: c.on()}, "")
}

// Run opens or closes the black hole.
func (c *simBlackhole) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	mode := c.Mode
	if mode == "on" {
		mode = "all"
	}
	return sim.order(ctx, std, h, &simctl.Request{Action: "blackhole", Mode: mode}, "")
}

// Run sets the pace.
func (c *simSlow) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "slow", N: int(c.Bytes)}, "")
}

// Run sets the credit.
func (c *simCredit) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "credit", N: int(c.N)}, "")
}

// Run sets the window.
func (c *simWindow) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "window", N: int(c.N)}, "")
}

// Run adds a rule for acknowledgements.
func (c *simAck) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	r := &simctl.Request{
		Action: "ack", Mode: c.What, Nth: c.Nth, Every: c.Every, Device: c.Device,
		Condition: c.Condition, Description: c.Description, Delay: c.Delay.String(),
	}
	return sim.order(ctx, std, h, r, "")
}

// Run loses settlements.
func (c *simSettlement) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "settlement", N: c.N}, "")
}

// Run decides about tokens to come.
func (c *simToken) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	r := &simctl.Request{Action: "token", Mode: c.What, N: c.Count, Status: c.Status, Description: c.Text}
	return sim.order(ctx, std, h, r, "")
}

// Run switches the throttle.
func (c *simThrottle) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "throttle", On: c.on(), Rate: c.Rate, Delay: c.Patience.String()}, "")
}

// Run sets the clock.
func (c *simClock) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	offset := strings.Join(c.Offset, "")
	if _, err := time.ParseDuration(offset); err != nil {
		return cli.Fail(cli.Usage, fmt.Errorf("clock %q: want an offset such as +1h, -90s or 0", offset), "")
	}
	return sim.order(ctx, std, h, &simctl.Request{Action: "clock", Delay: offset}, "")
}

// Run sets the shortest idle timeout.
func (c *simIdle) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "idle", Delay: c.Least.String()}, "")
}

// Run switches the quirk.
func (c *simOmitID) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "omit-id", On: c.on()}, "")
}

// Run switches the answers to echoes.
func (c *simMuteEcho) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "mute-echo", On: c.on()}, "")
}

// Run switches late settlements.
func (c *simLate) Run(ctx context.Context, std cli.IO, h *hub, sim *simCommand) error {
	return sim.order(ctx, std, h, &simctl.Request{Action: "late", On: c.on()}, "")
}
