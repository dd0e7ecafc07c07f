package agent

import (
	"iotagent/internal/promtext"
	"iotagent/iothub"
)

func linkMetrics(w *promtext.Writer, s *LinkStatus) {
	w.Gauge("iotagent_link_online", "1 while the hub is reached and all parts of the link are proven.")
	w.Bool(s.State == "online")
	partMetrics(w, s)
	w.Gauge("iotagent_link_trouble", "1 for the class of what is wrong with the link now.")
	for _, class := range classes() {
		w.Bool(s.State != "online" && s.Class == string(class), "class", string(class))
	}
	w.Gauge("iotagent_link_next_attempt_timestamp_seconds", "When what is wrong is tried again, in Unix time; 0 while nothing is planned.")
	if s.NextAttempt != nil {
		w.Value(unixSeconds(*s.NextAttempt))
	} else {
		w.Value(0)
	}
	if t := s.TokenExpires; t != nil {
		w.Gauge("iotagent_link_token_expiry_time_seconds", "When the token in use expires, in Unix time.")
		w.Value(unixSeconds(*t))
	}
	for _, c := range []struct {
		name, help string
		n          uint64
	}{
		{"iotagent_link_connects_total", "Connections to the hub.", s.Connects},
		{"iotagent_link_losses_total", "Connections that were lost.", s.Losses},
		{"iotagent_link_displaced_total", "Connections that another client with the same identity took.", s.Displaced},
		{"iotagent_link_sent_total", "Telemetry messages that the hub accepted.", s.Sent},
		{"iotagent_link_resent_total", "Telemetry messages that the hub gave back, or whose fate was lost; they are sent again.", s.Resent},
		{"iotagent_link_read_bytes_total", "Bytes read from the hub, inside of TLS.", s.ReadBytes},
		{"iotagent_link_written_bytes_total", "Bytes written to the hub, inside of TLS.", s.WrittenBytes},
	} {
		w.Counter(c.name, c.help)
		w.Value(float64(c.n))
	}
}

// classes are those that a link can be in trouble for.
func classes() []iothub.Class {
	return []iothub.Class{
		iothub.ClassNetwork, iothub.ClassAuth, iothub.ClassClock, iothub.ClassThrottled, iothub.ClassQuota, iothub.ClassDisabled,
		iothub.ClassRedirect, iothub.ClassProtocol, iothub.ClassDisplaced, iothub.ClassServer, iothub.ClassMessage, iothub.ClassUnknown,
	}
}

func partMetrics(w *promtext.Writer, s *LinkStatus) {
	w.Gauge("iotagent_link_part_up", "1 while this part of the link is proven, or not needed.")
	for i := range s.Parts {
		w.Bool(s.Parts[i].Fine(), "part", s.Parts[i].Part)
	}
	w.Counter("iotagent_link_part_losses_total", "How often this part of the link was lost.")
	for i := range s.Parts {
		w.Value(float64(s.Parts[i].Losses), "part", s.Parts[i].Part)
	}
	w.Gauge("iotagent_link_part_last_proof_timestamp_seconds", "When this part of the link was last proven, in Unix time.")
	for i := range s.Parts {
		if t := s.Parts[i].Proof; t != nil {
			w.Value(unixSeconds(*t), "part", s.Parts[i].Part)
		}
	}
}

func meterMetrics(w *promtext.Writer, today, total *Metering) {
	w.Gauge("iotagent_metered_today_messages", "Messages of 4 KiB that the hub has metered of this device's telemetry since 00:00 UTC.")
	w.Value(float64(today.Metered))
	w.Gauge("iotagent_metered_today_fill_ratio", "How full they are, 0 to 1.")
	w.Value(today.Fill())
	w.Counter("iotagent_metered_messages_total", "Messages of 4 KiB that the hub has metered.")
	w.Value(float64(total.Metered))
	w.Counter("iotagent_metered_bytes_total", "Bytes in them.")
	w.Value(float64(total.Bytes))
}

// uplinkMetrics are about how telemetry is sent.
func uplinkMetrics(w *promtext.Writer, s *UplinkStatus) {
	for _, g := range []struct {
		name, help string
		v          float64
	}{
		{"iotagent_uplink_in_flight_transfers", "Transfers sent and not yet settled; a batch is one.", float64(s.InFlightTransfers)},
		{"iotagent_uplink_in_flight_bytes", "Bytes of them.", float64(s.InFlightBytes)},
		{"iotagent_uplink_window_transfers", "How many may be in flight now.", float64(s.WindowTransfers)},
		{"iotagent_uplink_window_bytes", "How many bytes may be in flight now.", float64(s.WindowBytes)},
		{"iotagent_uplink_rate_limit_messages_per_second", "How fast is sent at most since the hub asked for fewer; 0 without a limit.", s.RatePerSecond},
		{"iotagent_uplink_settle_seconds", "How long the hub takes to settle a transfer, lately.", s.SettleMillis / 1000},
	} {
		w.Gauge(g.name, g.help)
		w.Value(g.v)
	}
	for _, c := range []struct {
		name, help string
		n          uint64
	}{
		{"iotagent_uplink_transfers_total", "Transfers sent.", s.Transfers},
		{"iotagent_uplink_batches_total", "Those that were batches.", s.Batches},
		{"iotagent_uplink_batched_messages_total", "Messages in them.", s.BatchedMessages},
		{"iotagent_uplink_split_batches_total", "Batches that were refused as a whole and sent again in halves.", s.SplitBatches},
	} {
		w.Counter(c.name, c.help)
		w.Value(float64(c.n))
	}
	w.Counter("iotagent_uplink_messages_total", "Messages by what became of them; all but accepted and dead ones are sent again.")
	for _, c := range []struct {
		fate string
		n    uint64
	}{{"accepted", s.Accepted}, {"refused", s.Refused}, {"returned", s.Returned}, {"lost", s.Lost}, {"dead", s.Dead}} {
		w.Value(float64(c.n), "fate", c.fate)
	}
}
