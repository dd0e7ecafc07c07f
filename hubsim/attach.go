package hubsim

import (
	"fmt"
	"strconv"

	"iotagent/hubsim/amqpd"
)

// Credit that the hub grants to clients that send.
const (
	requestCredit   = 100
	telemetryCredit = 1000
)

// attachLocked admits a link or says why not.
func (c *conn) attachLocked(wire *amqpd.Link) *amqpd.Error {
	s := c.s
	l := &link{wire: wire, conn: c, addr: parseAddress(wire.Address(), s.entity())}
	if l.addr.node == nodeFeedback && !l.receives() {
		l.addr.node = nodeDeviceFeedback
	}
	fault := s.takeAttachFaultLocked(wire.Address())
	if fault.err != nil && !fault.after {
		return fault.err
	}
	if err := c.checkLocked(l); err != nil {
		return err
	}
	if l.addr.redirect && !s.opts.DirectEvents {
		return s.redirect(l.addr)
	}
	switch l.addr.node {
	case nodeCBS, nodeManagement:
		wire.GrantCredit(requestCredit)
	case nodeSend, nodeDeviceFeedback:
		wire.GrantCredit(telemetryCredit)
	case nodeTelemetry, nodeCommands, nodeTwin, nodeMethods:
		s.claimDeviceLocked(l)
	case nodeEvents:
		if err := s.openEventsLocked(l); err != nil {
			return err
		}
	case nodeFeedback, nodeUnknown, nodeUnsupported:
	}
	switch l.addr.node {
	case nodeTelemetry:
		wire.GrantCredit(s.faults.telemetryCredit)
	case nodeTwin, nodeMethods:
		wire.GrantCredit(telemetryCredit)
	default:
	}
	if l.addr.node == nodeCommands && s.opts.CommandsSecond {
		wire.RcvSettleMode = amqpd.RcvSecond
	}
	s.windowFaultLocked(l)
	s.attached++
	l.seq = s.attached
	wire.SetValue(l)
	c.links[l] = true
	if fault.after {
		s.forgetLocked(l)
		wire.Detach(fault.err)
	}
	return nil
}

// checkLocked holds a link against what exists, in which direction, and what the connection may do.
func (c *conn) checkLocked(l *link) *amqpd.Error {
	s, a := c.s, l.addr
	fail := func(condition string, code int, format string, args ...any) *amqpd.Error {
		return &amqpd.Error{Condition: amqpd.Symbol(condition), Description: describe(code, fmt.Sprintf(format, args...), s.opts.Now())}
	}
	switch a.node {
	case nodeUnknown:
		return fail(condNotFound, 404006, "There is no node %q.", l.wire.Address())
	case nodeUnsupported:
		return fail(condNotImpl, 404006, "This hub does not have %q yet.", l.wire.Address())
	case nodeTelemetry, nodeSend:
		if l.receives() {
			return fail(condNotAllowed, 400003, "Nothing can be received from %q.", l.wire.Address())
		}
	case nodeCommands, nodeFeedback, nodeEvents:
		if !l.receives() {
			return fail(condNotAllowed, 400003, "Nothing can be sent to %q.", l.wire.Address())
		}
	case nodeDeviceFeedback:
		if !s.opts.DeviceFeedback {
			return fail(condNotAllowed, 400003, "Nothing can be sent to %q: a device answers by settling its commands.", l.wire.Address())
		}
	case nodeCBS, nodeManagement, nodeTwin, nodeMethods:
	}
	c.judgeKeptLocked()
	if a.device != "" && !c.plain && !c.allowedLocked(a) {
		c.admitCertificateLocked(a)
	}
	if !c.allowedLocked(a) {
		return fail(condUnauthorized, 401002, "No token on this connection opens %q.", l.wire.Address())
	}
	if a.device == "" {
		return nil
	}
	switch d := s.devices[a.identity()]; {
	case d == nil && a.module != "" && s.devices[a.device] != nil:
		return fail(condNotFound, 404010, "Module %s/%s not registered.", a.device, a.module)
	case d == nil:
		return fail(condNotFound, 404001, "Device %s not registered.", a.device)
	case s.disabledLocked(d):
		return fail(condUnauthorized, 403012, "Device %s is disabled.", a.device)
	}
	return nil
}

// claimDeviceLocked gives a device to the connection that attached last: an older connection is closed, an older link of the same kind on
// the same connection is detached.
func (s *Server) claimDeviceLocked(l *link) {
	d := s.devices[l.addr.identity()]
	if old := d.conn; old != nil && old != l.conn {
		s.evictLocked(old, d.key())
	}
	if d.conn != l.conn {
		d.conn, d.connChanged = l.conn, s.opts.Now()
	}
	d.lastActivity = s.opts.Now()
	for o := range l.conn.links {
		if o.addr.identity() != d.key() || o.addr.node != l.addr.node || o.wire.Role != l.wire.Role {
			continue
		}
		if o.addr.node == nodeCommands {
			s.detachLocked(o, string(amqpd.CondInternalError), "Another AMQP Client has opened a Receive Link")
		} else {
			s.detachLocked(o, condConflict, describe(409002, "Another link of the device has taken over.", s.opts.Now()))
		}
	}
}

// evictLocked ends an identity's older connection; one that carries others too only loses this one's links.
func (s *Server) evictLocked(old *conn, id string) {
	shared := false
	for l := range old.links {
		shared = shared || (l.addr.device != "" && l.addr.identity() != id)
	}
	for l := range old.links {
		if l.addr.identity() == id {
			s.detachLocked(l, condNewConnection, "")
		}
	}
	if !shared {
		old.wire.Close(&amqpd.Error{Condition: condNewConnection})
	}
}

// redirect tells a service where the hub's telemetry really is: at this very hub, under the name of its event hub.
func (s *Server) redirect(a address) *amqpd.Error {
	port := 5671
	if n, err := strconv.ParseUint(s.port, 10, 16); err == nil {
		port = int(n)
	}
	return &amqpd.Error{
		Condition:   condRedirect,
		Description: "Link to " + s.entity() + " is redirected.",
		Info: amqpd.Fields{
			{Key: "hostname", Value: s.opts.Hostname},
			{Key: "network-host", Value: s.opts.Hostname},
			{Key: "port", Value: int32(port)},
			{Key: "address", Value: fmt.Sprintf("amqps://%s:%d/%s/%s", s.opts.Hostname, port, s.entity(), a.tail)},
			{Key: "com.microsoft:tracking-id", Value: randomHex(16)},
		},
	}
}

// pumpLocked sends what waits for a link, as far as its credit goes.
func (s *Server) pumpLocked(l *link) {
	if !l.receives() || !l.conn.links[l] {
		return
	}
	switch l.addr.node {
	case nodeCBS, nodeManagement, nodeTwin:
		l.conn.flushRepliesLocked(l.place())
	case nodeCommands:
		if d := s.devices[l.addr.identity()]; d != nil {
			s.pumpCommandsLocked(d)
		}
	case nodeMethods:
		if d := s.devices[l.addr.identity()]; d != nil {
			s.pumpCallsLocked(d)
		}
	case nodeFeedback:
		s.pumpFeedbackLocked()
	case nodeEvents:
		s.pumpEventsLocked(l)
	default:
	}
}
