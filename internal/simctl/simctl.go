// Package simctl is how hubctl and scripts tell hubsim which faults to have: HTTP on a Unix socket or on loopback, one resource at /.
// GET returns a Status, POST takes a Request and returns a Reply; what went wrong is in Reply.Error, with status 400.
package simctl

// Socket is the name of the control socket in hubsim's state directory.
const Socket = "control.sock"

// Default stands for a number's own default, in Request.N.
const Default = -1

// Request is one order. Each action uses the fields that are named with it; the others are ignored.
type Request struct {
	// Action is one of
	//
	//	drop         RST            cut every connection
	//	close        Condition      close every connection
	//	end          Condition      end every session that has other links than those to $cbs
	//	detach       Address        detach the links to an address, "" for all but $cbs; Condition; Mode suspend does not close them
	//	attach       Address        refuse the next link to an address; Condition; Mode after attaches it first
	//	deaf         Address, Mode  lose the links to an address, "" for all but $cbs, without a word: now, on (links to come too), off
	//	redirect     Address, To    redirect the links to an address or the next one, without Address the next connection
	//	refuse       On             refuse new connections
	//	blackhole    Mode           off, all, in, out, tcp
	//	slow         N              read N bytes a second from each connection; Default: as they come
	//	credit       N              credit of telemetry links
	//	window       N              incoming window of sessions
	//	ack          Mode           lose, release, reject, modify, delay telemetry: Device, Nth, Every, Condition, Delay; clear ends all
	//	settlement   N              lose the next N settlements of commands
	//	token        Mode           reject (Status, Description) or swallow the next N put-token requests; clear ends it
	//	throttle     On             Rate a second, waiting at most Delay
	//	clock        Delay          wall clock off by so much; 0 is right
	//	idle         Delay          refuse clients that announce a shorter idle timeout; 0 is the default
	//	omit-id      On             leave next-incoming-id out of FLOW frames, for connections to come
	//	mute-echo    On             answer no FLOW that asks for an echo
	//	late         On             send settlements also after the end of their link
	//	reset                       end all of these
	Action string `json:"action"`

	Address     string  `json:"address,omitempty"`
	Condition   string  `json:"condition,omitempty"`
	Delay       string  `json:"delay,omitempty"` // as Go writes durations: "1m30s"
	Description string  `json:"description,omitempty"`
	Device      string  `json:"device,omitempty"`
	Every       int     `json:"every,omitempty"`
	Mode        string  `json:"mode,omitempty"`
	N           int     `json:"n,omitempty"`
	Nth         int     `json:"nth,omitempty"`
	On          bool    `json:"on,omitempty"`
	RST         bool    `json:"rst,omitempty"`
	Rate        float64 `json:"rate,omitempty"`
	Status      int32   `json:"status,omitempty"`
	To          string  `json:"to,omitempty"` // HOST:PORT
}

// Reply says what an order did.
type Reply struct {
	// Done is how many connections or links it concerned at once.
	Done int `json:"done"`
	// Error says what was wrong with the order; "" when it was carried out.
	Error string `json:"error,omitempty"`
}

// Status is what a hub is doing.
type Status struct {
	Hub         string   `json:"hub"`
	Connections int      `json:"connections"`
	Devices     []Device `json:"devices"`
	Events      int      `json:"events"`   // accepted telemetry messages
	Feedback    int      `json:"feedback"` // records to be sent, and messages that nobody has settled
	ClockOffset string   `json:"clock_offset"`
	Faults      []string `json:"faults"` // those that are on, in words
}

// Device is one registered identity, a module as "DEVICE/MODULE".
type Device struct {
	ID       string   `json:"id"`
	Disabled bool     `json:"disabled,omitempty"`
	Links    []string `json:"links"`
	Commands int      `json:"commands"`      // that wait
	Metered  int      `json:"metered_today"` // units of 4 KiB of accepted telemetry, since midnight UTC or the hub's start
}
