package hubsim

import "github.com/Azure/go-amqp"

// OnMessages lets f decide about telemetry by the message-ids of a delivery, of which a batch has many, where nothing else has decided yet. Nil ends it.
// It must not call the Server.
func (s *Server) OnMessages(f func(device string, ids []string) Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.messages = f
}

func (s *Server) contentFaultLocked(device string, ms []*amqp.Message) Verdict {
	if s.faults.messages == nil {
		return Verdict{}
	}
	ids := make([]string, len(ms))
	for i, m := range ms {
		if m.Properties != nil {
			ids[i] = idText(m.Properties.MessageID)
		}
	}
	return s.faults.messages(device, ids)
}
