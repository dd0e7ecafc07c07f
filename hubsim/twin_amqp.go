package hubsim

import (
	"encoding/json"
	"errors"
	"maps"
	"strconv"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim/amqpd"
)

// The resources that a device's twin requests name.
const (
	twinReported = "/properties/reported"
	twinDesired  = "/notifications/twin/properties/desired"
)

// twinRequestLocked carries out what a device asks of its twin: the operation stands in the annotations, the answer goes to the device's
// receiver with the same correlation-id.
func (s *Server) twinRequestLocked(l *link, in *amqpd.Incoming) {
	m, err := decodeMessage(in.Payload)
	if err != nil {
		in.Settle(rejected(condDecode, err.Error()))
		return
	}
	if m.Properties == nil || m.Properties.CorrelationID == nil {
		in.Settle(rejected(condArgument, describe(400004, "A twin request needs a correlation-id.", s.opts.Now())))
		return
	}
	d := s.devices[l.addr.identity()]
	if d == nil {
		in.Settle(rejected(condNotFound, describe(404001, "Device not registered.", s.opts.Now())))
		return
	}
	in.Settle(amqpd.State{Kind: amqpd.Accepted})
	d.lastActivity = s.opts.Now()
	answer := &amqp.Message{
		Properties:  &amqp.MessageProperties{CorrelationID: m.Properties.CorrelationID},
		Annotations: amqp.Annotations{"status": int32(200)},
		Data:        [][]byte{{}},
	}
	if err := s.twinOperationLocked(d, l, m, answer); err != nil {
		f := &failure{status: 500, code: 500001, message: "The twin cannot be shown."}
		_ = errors.As(err, &f) // anything else is the hub's own fault
		s.opts.Logger.Info("twin request refused", "device", d.key(), "status", f.status, "reason", f.message)
		answer.Annotations["status"] = int32(f.status)
		answer.Data = [][]byte{[]byte(describe(f.code, f.message, s.opts.Now()))}
	}
	l.conn.queueLocked(l.place(), "", answer)
}

// twinOperationLocked carries out one request and completes its answer.
func (s *Server) twinOperationLocked(d *device, l *link, m, answer *amqp.Message) (err error) {
	operation, resource := plainText(m.Annotations["operation"]), plainText(m.Annotations["resource"])
	switch {
	case operation == "GET" && resource == "":
		answer.Data[0], err = json.Marshal(map[string]any{"desired": d.twin.desired.render(false), "reported": d.twin.reported.render(false)})
		return err
	case operation == "PATCH" && resource == twinReported:
		if want := plainText(m.Annotations["version"]); want != "" && want != strconv.FormatInt(d.twin.reported.version, 10) {
			return etagMismatch()
		}
		patch, err := parseObject(bodyOf(m))
		if err != nil {
			return err
		}
		if err := s.reportLocked(d, patch); err != nil {
			return err
		}
		answer.Annotations["version"] = d.twin.reported.version
		return nil
	case operation == "PUT" && resource == twinDesired:
		l.subscribed = true
		return nil
	case operation == "DELETE" && resource == twinDesired:
		l.subscribed = false
		return nil
	}
	return badArgument("operation %.20q with resource %.80q: there is no such request.", operation, resource)
}

// notifyDesiredLocked tells a device that has asked for it what a service changed. A change that finds no receiver is lost: the device reads
// its twin after it comes back.
func (s *Server) notifyDesiredLocked(d *device, patch map[string]any) {
	if d.conn == nil {
		return
	}
	for l := range d.conn.links {
		if !l.subscribed || l.addr.identity() != d.key() || d.conn.receiverLocked(l.place(), "") == nil {
			continue
		}
		body := maps.Clone(patch)
		body["$version"] = d.twin.desired.version
		text, err := json.Marshal(body)
		if err != nil { // cannot happen: it came as JSON
			s.opts.Logger.Warn("desired properties cannot be encoded", "error", err)
			return
		}
		d.conn.queueLocked(l.place(), "", &amqp.Message{
			Annotations: amqp.Annotations{"resource": "/properties/desired"},
			Data:        [][]byte{text},
		})
	}
}
