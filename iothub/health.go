package iothub

import "time"

// Part is one of the four things of a connection that are watched separately (ARCHITECTURE.md, "The link").
type Part uint8

// The parts. Each has its proof: of the connection, any frame within the idle timeout we announced; of the token, the hub's acceptance while its end
// is not near; of the telemetry link, a settled transfer or, when idle, the answer to a FLOW with echo; of the command link, a
// delivery or the answer to a FLOW with echo.
const (
	Connection Part = iota
	Token
	Telemetry
	Command
	Parts = 4
)

// String returns "connection", "token", "telemetry" or "command".
func (p Part) String() string {
	return [Parts]string{"connection", "token", "telemetry", "command"}[p]
}

// Phase is the state of a part.
type Phase string

// The phases. The only ways between them are drawn in ARCHITECTURE.md.
const (
	Down     Phase = "down"     // not there; Health.Next says when it is tried again
	Opening  Phase = "opening"  // being made: handshake, put-token, attach
	Proven   Phase = "proven"   // its last proof is younger than its deadline
	Doubtful Phase = "doubtful" // a probe is out, or a settlement late; what happens at Health.Deadline is Down
	Unused   Phase = "unused"   // the token of X.509, the command link of TelemetryOnly
)

// Health is what is known of a part at one moment.
type Health struct {
	Phase Phase
	// Since is when the phase began.
	Since time.Time
	// Proof is when it was last proven; zero: never on this connection.
	Proof time.Time
	// Deadline is by when the next proof must have come; zero when none is awaited.
	Deadline time.Time
	// Cause says why it is not proven or, when it is, why it was lost last; nil when it never was.
	Cause *Error
	// Next is when the next attempt to make it begins; zero when none is planned.
	Next time.Time
	// Losses counts on this connection.
	Losses uint64
}

// Fine reports whether the part is proven or not needed.
func (h Health) Fine() bool { return h.Phase == Proven || h.Phase == Unused }

// Status is what is known of one connection at one moment.
type Status struct {
	// Parts are indexed by Part.
	Parts [Parts]Health
	// TokenExpires is zero with AuthX509.
	TokenExpires time.Time
	// Host is the host that was dialled, after redirects; Via the transport's word for the way, "" when it has none.
	Host, Via string
	// BytesRead and BytesWritten count what went over the transport inside TLS.
	BytesRead, BytesWritten uint64
	// KeyInUse is "primary" or "secondary", "" without a key.
	KeyInUse string
}

// Online reports whether all four parts are proven or not needed.
func (s *Status) Online() bool {
	for _, h := range s.Parts {
		if !h.Fine() {
			return false
		}
	}
	return true
}

// health changes what is known of a part. Since and Losses follow the phase by themselves.
func (c *Client) health(p Part, f func(*Health)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.healthLocked(p, f)
}

func (c *Client) healthLocked(p Part, f func(*Health)) {
	h := &c.status.Parts[p]
	before := h.Phase
	f(h)
	if h.Phase == before {
		return
	}
	h.Since = time.Now()
	if h.Phase == Down && (before == Proven || before == Doubtful) { // and not each try that fails
		h.Losses++
	}
}

// proven takes note of a proof; the next one must come by deadline, zero for whenever.
func (c *Client) proven(p Part, deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.provenLocked(p, deadline)
}

func (c *Client) provenLocked(p Part, deadline time.Time) {
	c.healthLocked(p, func(h *Health) { h.Phase, h.Proof, h.Deadline, h.Next = Proven, time.Now(), deadline, time.Time{} })
}
