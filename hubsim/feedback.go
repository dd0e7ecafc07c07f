package hubsim

import (
	"encoding/json"
	"time"

	"github.com/Azure/go-amqp"
)

// FeedbackRecord is what became of one command, as services read it.
type FeedbackRecord struct {
	OriginalMessageID  string    `json:"originalMessageId"`
	EnqueuedTimeUTC    EventTime `json:"enqueuedTimeUtc"`
	StatusCode         string    `json:"statusCode"`
	Description        string    `json:"description"`
	DeviceID           string    `json:"deviceId"`
	DeviceGenerationID string    `json:"deviceGenerationId"`
}

const (
	feedbackType  = "application/vnd.microsoft.iothub.feedback.json"
	feedbackTTL   = time.Hour
	feedbackLimit = 1000 // messages that wait for a service
)

func (it *item) feedbackRecord(d *device, status string, now time.Time) FeedbackRecord {
	r := FeedbackRecord{
		EnqueuedTimeUTC: EventTime{now}, StatusCode: status, Description: status,
		DeviceID: d.id, DeviceGenerationID: d.generation,
	}
	if p := it.msg.Properties; p != nil {
		r.OriginalMessageID = idText(p.MessageID)
	}
	return r
}

// feedback gathers records into messages and holds those until a service settles them. Guarded by the Server's mutex.
type feedback struct {
	s       *Server
	pending []FeedbackRecord
	timer   *time.Timer
	queue   *queue
	all     []FeedbackRecord // every record so far, for tests; bounded
}

func newFeedback(s *Server) *feedback {
	f := &feedback{s: s}
	f.queue = &queue{
		mu: &s.mu, now: s.opts.Now, lock: s.opts.CommandLock, limit: feedbackLimit, maxDeliveries: s.opts.MaxDeliveries,
		note: s.noteQueue, flush: s.flushQueues,
		ready: s.pumpFeedbackLocked,
		ended: func(*item, string) { s.noteLocked() },
	}
	return f
}

// add takes one record in; it goes out with others, at the latest after FeedbackDelay.
func (f *feedback) add(r FeedbackRecord) {
	f.all = append(f.all[max(0, len(f.all)-9999):], r)
	f.pending = append(f.pending, r)
	f.s.noteQueue(&queueLine{Op: "record", Record: &r})
	f.s.flushQueues()
	if len(f.pending) >= f.s.opts.FeedbackBatch {
		f.flush()
		return
	}
	if len(f.pending) == 1 {
		f.startTimer()
	}
}

func (f *feedback) startTimer() {
	f.timer = time.AfterFunc(f.s.opts.FeedbackDelay, func() {
		f.s.mu.Lock()
		defer f.s.mu.Unlock()
		f.flush()
		f.s.noteLocked()
	})
}

func (f *feedback) flush() {
	if len(f.pending) == 0 {
		return
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	body, err := json.Marshal(f.pending)
	f.pending = nil
	f.s.noteQueue(&queueLine{Op: "sent"})
	if err != nil { // cannot happen: strings and times
		f.s.opts.Logger.Warn("feedback cannot be encoded", "error", err)
		return
	}
	m := &amqp.Message{
		Properties: &amqp.MessageProperties{
			MessageID: randomHex(16), UserID: []byte(f.s.shortName()), ContentType: ptr(feedbackType), ContentEncoding: ptr("utf-8"),
			To: ptr("/messages/serviceBound/feedback"),
		},
		Data: [][]byte{body},
	}
	if !f.queue.push(&item{msg: m, expires: f.s.opts.Now().Add(feedbackTTL)}) {
		f.s.flushQueues()
		f.s.opts.Logger.Warn("feedback dropped: nobody reads it")
	}
}

// encodeFeedback returns a feedback message as the service sees it.
func encodeFeedback(it *item) ([]byte, error) {
	m := *it.msg
	m.Annotations = amqp.Annotations{"iothub-enqueuedtime": it.enqueued.UTC().Truncate(time.Millisecond)}
	return encodeMessage(&m)
}

// pumpFeedbackLocked delivers feedback; services that read at the same time compete for it.
func (s *Server) pumpFeedbackLocked() {
	for c := range s.conns {
		for l := range c.links {
			if l.addr.node == nodeFeedback {
				deliver(s.feedback.queue, l, encodeFeedback)
			}
		}
	}
}

func (f *feedback) close() {
	if f.timer != nil {
		f.timer.Stop()
	}
	f.pending = nil
	f.queue.close()
}
