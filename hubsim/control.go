package hubsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"iotagent/internal/simctl"
)

// Control answers the requests of package simctl: it shows what the hub is doing and switches faults. Whoever reaches it commands the hub:
// serve it on a socket or on loopback.
func (s *Server) Control() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any
		status := http.StatusOK
		switch {
		case r.URL.Path != "/":
			status, answer = http.StatusNotFound, simctl.Reply{Error: "there is nothing but /"}
		case r.Method == http.MethodGet:
			answer = s.controlStatus()
		// A page in a browser cannot send this type without asking first, which is not answered.
		case r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
			status, answer = http.StatusBadRequest, simctl.Reply{Error: "want GET, or POST with content-type application/json"}
		default:
			done, err := s.controlRequest(w, r)
			if err != nil {
				status, answer = http.StatusBadRequest, simctl.Reply{Error: err.Error()}
			} else {
				answer = simctl.Reply{Done: done}
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer) // a client that left needs no answer
	})
}

func (s *Server) controlRequest(w http.ResponseWriter, r *http.Request) (int, error) {
	var req simctl.Request
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return 0, fmt.Errorf("request: %w", err)
	}
	done, err := s.Fault(&req)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", req.Action, err)
	}
	return done, nil
}

// Fault carries out one order and returns how many connections or links it concerned at once.
func (s *Server) Fault(r *simctl.Request) (int, error) {
	if done, known, err := s.connectionFault(r); known {
		return done, err
	}
	return 0, s.lastingFault(r)
}

// connectionFault carries out what concerns the connections and links of the moment.
func (s *Server) connectionFault(r *simctl.Request) (done int, known bool, err error) {
	switch r.Action {
	case "drop":
		if r.RST {
			return s.ResetConnections(), true, nil
		}
		return s.DropConnections(), true, nil
	case "close":
		return s.CloseConnections(r.Condition, r.Description), true, nil
	case "detach":
		done, err = s.controlDetach(r)
		return done, true, err
	case "end":
		return s.EndSessions(r.Condition, r.Description), true, nil
	case "deaf":
		done, err = s.controlDeaf(r)
		return done, true, err
	case "attach":
		if r.Address == "" || r.Condition == "" {
			return 0, true, errors.New("want an address and a condition")
		}
		return 0, true, s.controlAttach(r)
	case "redirect":
		to, err := ParseTarget(r.To)
		if err == nil && r.Address == "" {
			s.RedirectNextConnection(to)
		} else if err == nil {
			done = s.RedirectOnce(r.Address, to)
		}
		return done, true, err
	}
	return 0, false, nil
}

// lastingFault switches what goes on until it is switched off, or is used up.
func (s *Server) lastingFault(r *simctl.Request) error {
	delay, err := time.ParseDuration(r.Delay)
	if r.Delay != "" && err != nil {
		return fmt.Errorf("delay %q: want a duration such as 500ms or 1h30m", r.Delay)
	}
	switch r.Action {
	case "refuse":
		s.RefuseConnections(r.On)
	case "blackhole":
		return s.controlHole(r.Mode)
	case "slow":
		s.SetReadRate(r.N)
	case "credit":
		n := uint32(telemetryCredit)
		if r.N >= 0 {
			n = uint32(min(r.N, 1<<30)) // not negative here
		}
		s.SetTelemetryCredit(n)
	case "window":
		s.SetSessionWindow(int64(r.N))
	case "ack":
		return s.controlAck(r, delay)
	case "settlement":
		s.LoseSettlements(r.N)
	case "token":
		return s.controlToken(r)
	case "throttle":
		if !r.On {
			s.SetThrottle(nil)
			return nil
		}
		s.SetThrottle(&Throttle{Rate: r.Rate, Patience: delay})
	case "clock":
		s.SetClockOffset(delay)
	case "idle":
		s.RefuseIdleTimeouts(delay)
	case "omit-id":
		s.SetOmitNextIncomingID(r.On)
	case "mute-echo":
		s.SetMuteEcho(r.On)
	case "late":
		s.SetSettleLate(r.On)
	case "reset":
		s.ResetFaults()
	default:
		return errors.New("there is no such action")
	}
	return nil
}

func (s *Server) controlDetach(r *simctl.Request) (int, error) {
	switch r.Mode {
	case "":
		return s.DetachLinks(r.Address, r.Condition, r.Description), nil
	case "suspend":
		return s.SuspendLinks(r.Address, r.Condition, r.Description), nil
	}
	return 0, fmt.Errorf("mode %q: want suspend or none", r.Mode)
}

func (s *Server) controlAttach(r *simctl.Request) error {
	switch r.Mode {
	case "":
		s.RefuseNextAttach(r.Address, r.Condition, r.Description)
	case "after":
		s.DetachNextAttach(r.Address, r.Condition, r.Description)
	default:
		return fmt.Errorf("mode %q: want after or none", r.Mode)
	}
	return nil
}

func (s *Server) controlDeaf(r *simctl.Request) (int, error) {
	how, ok := map[string]Deafness{"off": Hearing, "now": DeafNow, "on": Deaf}[r.Mode]
	if !ok {
		return 0, fmt.Errorf("mode %q: want now, on or off", r.Mode)
	}
	return s.SetDeaf(r.Address, how), nil
}

func (s *Server) controlHole(mode string) error {
	i := slices.Index(holeNames(), mode)
	if i < 0 {
		return fmt.Errorf("mode %q: want one of %s", mode, strings.Join(holeNames(), ", "))
	}
	s.SetHole(Hole(i)) // one of five
	return nil
}

func holeNames() []string { return []string{"off", "in", "out", "all", "tcp"} }

func (s *Server) controlAck(r *simctl.Request, delay time.Duration) error {
	outcomes := map[string]Outcome{"lose": Lose, "release": Release, "reject": Reject, "modify": Modify, "delay": Store}
	outcome, ok := outcomes[r.Mode]
	switch {
	case r.Mode == "clear":
		s.SetAckRules()
		return nil
	case !ok:
		return fmt.Errorf("mode %q: want lose, release, reject, modify, delay or clear", r.Mode)
	case r.Nth < 0 || r.Every < 0 || r.Nth > 0 && r.Every > 0:
		return errors.New("want nth, or every, or neither")
	case r.Mode == "delay" && delay <= 0:
		return errors.New("want a delay of more than 0")
	}
	s.AddAckRule(AckRule{
		Device: r.Device, Nth: r.Nth, Every: r.Every,
		Verdict: Verdict{Outcome: outcome, Condition: r.Condition, Description: r.Description, Delay: delay},
	})
	return nil
}

func (s *Server) controlToken(r *simctl.Request) error {
	switch r.Mode {
	case "reject":
		status := r.Status
		if status == 0 {
			status = 401
		}
		s.RejectNextTokens(r.N, status, r.Description)
	case "swallow":
		s.SwallowNextTokens(r.N)
	case "clear":
		s.OnToken(nil)
	default:
		return fmt.Errorf("mode %q: want reject, swallow or clear", r.Mode)
	}
	return nil
}
