package chaos

import (
	"syscall"
	"time"

	"iotagent/internal/simctl"
)

const (
	device    = "pi-17"
	telemetry = "/devices/" + device + "/messages/events"
	commands  = "/devices/" + device + "/messages/devicebound"
)

// trouble is one kind of fault.
type trouble struct {
	name string
	// on begins it and off ends it, at the hub.
	on, off []simctl.Request
	// signal goes to a process; what a signal began, end undoes.
	signal *signal
	// least and most are how long it lasts; both are zero when it is over as soon as it has happened.
	least, most time.Duration
	// silent: nobody tells the agent, which has to notice by itself. In a long run it stays until its status says so.
	silent bool
	// repeats: messages may come twice, because an acknowledgement, a link, a connection or a process was lost.
	repeats bool
	// gives: the hub gave messages back, which may come after later ones.
	gives bool
	// command: it is about the command link, which is back when a command takes effect.
	command bool
	// expires: what the hub takes meanwhile may be too old for it afterwards.
	expires bool
	// fatal: the hub refuses messages for good.
	fatal bool
	// slow: the agent has reason to stay away longer than a short run has time for.
	slow bool
}

// signal is what is done to a process.
type signal struct {
	agent  bool // otherwise the hub
	number syscall.Signal
}

func (k *trouble) instant() bool { return k.most == 0 }

// limit is how long the link may take to come back before the run counts it as stuck. It is no budget: the table shows the times.
func (k *trouble) limit() time.Duration {
	if k.slow {
		return 25 * time.Minute
	}
	return 3 * time.Minute
}

// troubles are all kinds; port is the hub's, to which redirects lead.
func troubles(to string) []trouble {
	all := cuts()
	all = append(all, partings()...)
	all = append(all, sessions()...)
	all = append(all, redirects(to)...)
	all = append(all, silences()...)
	all = append(all, deafness()...)
	all = append(all, outcomes()...)
	all = append(all, refusals()...)
	return append(all, deaths()...)
}

func orders(r ...simctl.Request) []simctl.Request { return r }

// normal ends all faults. What is left is the time that a message and its acknowledgement take to a real hub and back, so that there is
// always something under way.
func normal() []simctl.Request {
	return orders(simctl.Request{Action: "reset"}, simctl.Request{Action: "ack", Mode: "delay", Delay: "50ms"})
}

// cuts end the connection at once.
func cuts() []trouble {
	all := []trouble{
		{name: "connection cut (FIN)", on: orders(simctl.Request{Action: "drop"})},
		{name: "connection cut (RST)", on: orders(simctl.Request{Action: "drop", RST: true})},
	}
	for _, c := range []struct {
		condition string
		slow      bool
	}{
		{"", false},
		{"amqp:connection:forced", false},
		{"amqp:internal-error", false},
		{"amqp:unauthorized-access", false},
		{"amqp:not-allowed", false},
		{"com.microsoft:device-container-throttled", false},
		{"com.example:unheard-of", false},
		{"amqp:resource-limit-exceeded", true},
		{"com.microsoft:iot-hub-suspended", true},
		{"com.microsoft:connection-closed-on-new-connection", true},
	} {
		all = append(all, trouble{
			name: "connection closed: " + orNothing(c.condition), slow: c.slow,
			on: orders(simctl.Request{Action: "close", Condition: c.condition, Description: "chaos"}),
		})
	}
	for i := range all {
		all[i].repeats = true
	}
	return all
}

func orNothing(condition string) string {
	if condition == "" {
		return "without a word"
	}
	return condition
}

// partings end links, or keep them from coming.
func partings() []trouble {
	var all []trouble
	for _, at := range []struct{ name, address string }{{"telemetry link", telemetry}, {"command link", commands}, {"both links", ""}} {
		for _, c := range []struct {
			condition string
			slow      bool
		}{
			{"", false},
			{"amqp:link:detach-forced", false},
			{"amqp:internal-error", false},
			{"amqp:unauthorized-access", false},
			{"com.microsoft:device-container-throttled", true},
			{"amqp:link:stolen", true},
			{"amqp:resource-limit-exceeded", true},
		} {
			all = append(all, trouble{
				name: at.name + " detached: " + orNothing(c.condition), repeats: true, slow: c.slow,
				on: orders(simctl.Request{Action: "detach", Address: at.address, Condition: c.condition, Description: "chaos"}),
			})
		}
		if at.address == "" {
			continue
		}
		for _, c := range []string{"amqp:internal-error", "amqp:unauthorized-access", "amqp:not-found"} {
			all = append(all, trouble{
				name: at.name + " refused: " + c, repeats: true,
				on: orders(
					simctl.Request{Action: "attach", Address: at.address, Condition: c, Description: "chaos"},
					simctl.Request{Action: "detach", Address: at.address, Condition: "amqp:link:detach-forced"},
				),
			})
		}
	}
	return all
}

// sessions end, links end in ways of their own.
func sessions() []trouble {
	var all []trouble
	for _, c := range []string{"", "amqp:internal-error", "amqp:session:window-violation"} {
		all = append(all, trouble{name: "session ended: " + orNothing(c), on: orders(simctl.Request{Action: "end", Condition: c, Description: "chaos"})})
	}
	for _, at := range []struct{ name, address string }{{"telemetry link", telemetry}, {"command link", commands}} {
		all = append(all,
			trouble{name: at.name + " suspended", on: orders(simctl.Request{Action: "detach", Mode: "suspend", Address: at.address})},
			trouble{name: at.name + " attached, then detached", on: orders(
				simctl.Request{Action: "attach", Mode: "after", Address: at.address, Condition: "amqp:internal-error", Description: "chaos"},
				simctl.Request{Action: "detach", Address: at.address, Condition: "amqp:link:detach-forced"},
			)})
	}
	for i := range all {
		all[i].repeats = true
	}
	return all
}

// redirects lead back to the same hub.
func redirects(to string) []trouble {
	return []trouble{
		{name: "connection redirected", repeats: true, on: orders(simctl.Request{Action: "redirect", To: to}, simctl.Request{Action: "drop"})},
		{name: "telemetry link redirected", repeats: true, on: orders(simctl.Request{Action: "redirect", Address: telemetry, To: to})},
		{name: "command link redirected", repeats: true, on: orders(simctl.Request{Action: "redirect", Address: commands, To: to})},
	}
}

// silences tell the agent nothing.
func silences() []trouble {
	all := []trouble{
		{name: "credit 0", on: orders(simctl.Request{Action: "credit"}), off: orders(simctl.Request{Action: "credit", N: simctl.Default})},
		{name: "session window 0", on: orders(simctl.Request{Action: "window"}), off: orders(simctl.Request{Action: "window", N: simctl.Default})},
		{
			name: "every acknowledgement lost", on: orders(simctl.Request{Action: "ack", Mode: "clear"}, simctl.Request{Action: "ack", Mode: "lose"}), repeats: true,
			off: orders(simctl.Request{Action: "ack", Mode: "clear"}),
		},
	}
	for _, mode := range []string{"all", "in", "out", "tcp"} {
		// What lived through it has lost bytes that TCP would not have lost, so it is cut; what began in between is, too.
		all = append(all, trouble{
			name: "black hole: " + mode, on: orders(simctl.Request{Action: "blackhole", Mode: mode}), repeats: true,
			off: orders(simctl.Request{Action: "drop", RST: true}, simctl.Request{Action: "blackhole", Mode: "off"}, simctl.Request{Action: "drop", RST: true}),
		})
	}
	for i := range all {
		all[i].silent, all[i].least, all[i].most = true, 3*time.Second, 20*time.Second
	}
	return all
}

// deafness is of links while others live. Nobody lifts it: the agent has to make the link anew.
func deafness() []trouble {
	deaf := func(address string) []simctl.Request {
		return orders(simctl.Request{Action: "deaf", Mode: "now", Address: address})
	}
	return []trouble{
		{name: "telemetry link deaf", repeats: true, on: deaf(telemetry)},
		{name: "command link deaf", repeats: true, command: true, on: deaf(commands)},
		{name: "both links deaf", repeats: true, command: true, on: deaf("")},
		{
			name: "all telemetry links deaf", repeats: true, silent: true, least: 3 * time.Second, most: 20 * time.Second,
			on:  orders(simctl.Request{Action: "deaf", Mode: "on", Address: telemetry}),
			off: orders(simctl.Request{Action: "deaf", Mode: "off"}, simctl.Request{Action: "detach", Condition: "amqp:link:detach-forced"}),
		},
	}
}

// outcomes are what the hub says of messages and commands.
func outcomes() []trouble {
	clearing := orders(simctl.Request{Action: "ack", Mode: "clear"})
	ack := func(name string, r simctl.Request) trouble {
		r.Action = "ack"
		return trouble{name: name, on: append(clearing[:1:1], r), off: clearing, least: time.Second, most: 8 * time.Second, gives: r.Mode != "lose" && r.Mode != "delay"}
	}
	lost := ack("one acknowledgement in 20 lost", simctl.Request{Mode: "lose", Every: 20})
	lost.repeats = true
	quota := ack("one in 10 rejected: amqp:resource-limit-exceeded", simctl.Request{Mode: "reject", Every: 10, Condition: "amqp:resource-limit-exceeded"})
	quota.slow = true
	poison := ack("one rejected: amqp:decode-error", simctl.Request{Mode: "reject", Nth: 1, Condition: "amqp:decode-error"})
	poison.fatal = true
	unheard := ack("one in 10 rejected: com.example:unheard-of", simctl.Request{Mode: "reject", Every: 10, Condition: "com.example:unheard-of"})
	unheard.fatal = true
	return []trouble{
		lost, quota, poison, unheard,
		ack("all released", simctl.Request{Mode: "release"}),
		ack("one in 7 released", simctl.Request{Mode: "release", Every: 7}),
		ack("one in 7 modified", simctl.Request{Mode: "modify", Every: 7}),
		ack("acknowledgements late by 2s", simctl.Request{Mode: "delay", Delay: "2s"}),
		ack("one in 10 rejected: com.microsoft:device-container-throttled",
			simctl.Request{Mode: "reject", Every: 10, Condition: "com.microsoft:device-container-throttled"}),
		ack("one in 10 rejected: amqp:internal-error", simctl.Request{Mode: "reject", Every: 10, Condition: "amqp:internal-error"}),
		{
			name: "throttled to 20 a second", gives: true, on: orders(simctl.Request{Action: "throttle", On: true, Rate: 20, Delay: "1s"}),
			off: orders(simctl.Request{Action: "throttle"}), least: 3 * time.Second, most: 10 * time.Second,
		},
		{
			name: "settlements after the end of the link", repeats: true, least: time.Second, most: 4 * time.Second,
			on: append(clearing[:1:1], simctl.Request{Action: "ack", Mode: "delay", Delay: "500ms"}, simctl.Request{Action: "late", On: true},
				simctl.Request{Action: "detach", Address: telemetry, Condition: "amqp:link:detach-forced"}),
			off: orders(simctl.Request{Action: "late"}),
		},
		{name: "settlements of 3 commands lost", on: orders(simctl.Request{Action: "settlement", N: 3})},
	}
}

// refusals keep the agent out, or hold it up.
func refusals() []trouble {
	drop := simctl.Request{Action: "drop"}
	all := []trouble{
		{name: "connections refused", on: orders(simctl.Request{Action: "refuse", On: true}, drop), off: orders(simctl.Request{Action: "refuse"})},
		{
			name: "short idle timeouts refused", on: orders(simctl.Request{Action: "idle", Delay: "24h"}, drop),
			off: orders(simctl.Request{Action: "idle"}),
		},
		{name: "hub's clock 2h ahead", expires: true, on: orders(simctl.Request{Action: "clock", Delay: "2h"}, drop), off: orders(simctl.Request{Action: "clock"})},
		{name: "hub's clock 2h behind", expires: true, on: orders(simctl.Request{Action: "clock", Delay: "-2h"}, drop), off: orders(simctl.Request{Action: "clock"})},
		{
			name: "FLOW without next-incoming-id", on: orders(simctl.Request{Action: "omit-id", On: true}, drop),
			off: orders(simctl.Request{Action: "omit-id"}, drop),
		},
		{
			name: "echoes not answered", on: orders(simctl.Request{Action: "mute-echo", On: true}), off: orders(simctl.Request{Action: "mute-echo"}),
		},
		{
			name: "slow reader (2000 bytes a second)", on: orders(simctl.Request{Action: "slow", N: 2000}),
			off: orders(simctl.Request{Action: "slow", N: simctl.Default}),
		},
	}
	for i := range all {
		all[i].repeats, all[i].least, all[i].most = true, 2*time.Second, 10*time.Second
	}
	for _, status := range []int32{401, 500} {
		all = append(all, trouble{
			name: map[int32]string{401: "token rejected: 401", 500: "token rejected: 500"}[status], repeats: true,
			on: orders(simctl.Request{Action: "token", Mode: "reject", N: 1, Status: status, Description: "chaos"}, drop),
		})
	}
	return append(all, trouble{name: "token request swallowed", repeats: true, on: orders(simctl.Request{Action: "token", Mode: "swallow", N: 1}, drop)})
}

// deaths end or stop a process.
func deaths() []trouble {
	return []trouble{
		{name: "iotagent killed", repeats: true, signal: &signal{true, syscall.SIGKILL}},
		{name: "iotagent stopped and started", signal: &signal{true, syscall.SIGTERM}},
		{name: "iotagent frozen", repeats: true, signal: &signal{true, syscall.SIGSTOP}, least: time.Second, most: 20 * time.Second},
		{name: "hub killed and started", repeats: true, signal: &signal{false, syscall.SIGKILL}, least: time.Second, most: 8 * time.Second},
		{name: "hub frozen", repeats: true, silent: true, signal: &signal{false, syscall.SIGSTOP}, least: 3 * time.Second, most: 20 * time.Second},
	}
}
