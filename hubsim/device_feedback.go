package hubsim

import (
	"encoding/json"

	"iotagent/hubsim/amqpd"
)

// deviceFeedbackLocked takes outcomes that a device reports by itself, one record or an array of them, and merges them into the services'
// feedback. Whom they are from is the hub's to say, not the device's.
func (c *conn) deviceFeedbackLocked(l *link, d *amqpd.Incoming) {
	s := c.s
	from := s.devices[c.deviceLocked(l.addr)]
	m, err := decodeMessage(d.Payload)
	if err != nil || from == nil {
		d.Settle(rejected(condDecode, "not a message of a registered device"))
		return
	}
	records, err := decodeRecords(bodyOf(m))
	if err != nil {
		d.Settle(rejected(condDecode, "want a feedback record in JSON, or an array of them: "+err.Error()))
		return
	}
	for _, r := range records {
		r.DeviceID, r.DeviceGenerationID = from.id, from.generation
		if r.EnqueuedTimeUTC.IsZero() {
			r.EnqueuedTimeUTC = EventTime{s.opts.Now()}
		}
		s.feedback.add(r)
	}
	d.Settle(amqpd.State{Kind: amqpd.Accepted})
}

// deviceLocked returns the identity that opened a link whose address names none.
func (c *conn) deviceLocked(a address) string {
	if g := c.grantLocked(a); g != nil {
		return g.device
	}
	return ""
}

func decodeRecords(body []byte) ([]FeedbackRecord, error) {
	var records []FeedbackRecord
	if err := json.Unmarshal(body, &records); err == nil {
		return records, nil
	}
	var one FeedbackRecord
	if err := json.Unmarshal(body, &one); err != nil {
		return nil, err
	}
	return []FeedbackRecord{one}, nil
}
