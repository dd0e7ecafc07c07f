package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"iotagent/sensors"
)

// headerSize is that of the header of a frame: transaction, protocol, length, unit (Messaging on TCP/IP V1.0b, section 3.1.3).
const headerSize = 7

// maxPDU is the longest request or answer without its frame (V1.1b3, section 4.1).
const maxPDU = 253

// silentLimit is how many requests in a row may stay without an answer before the connection is taken for dead: a unit whose
// power was cut does not say so.
const silentLimit = 2

// tcpLink is a connection to a Modbus TCP server.
type tcpLink struct {
	conn        net.Conn
	transaction uint16
	silent      int // requests in a row that nobody answered
}

var _ link = (*tcpLink)(nil)

func (l *tcpLink) quiet() time.Duration { return 0 }

// Close closes the connection.
func (l *tcpLink) Close() error { return l.conn.Close() }

// exchange discards answers to earlier requests, which it knows by their transaction number.
func (l *tcpLink) exchange(unit byte, q query, within time.Duration) ([]byte, error) {
	l.transaction++
	if err := l.conn.SetDeadline(time.Now().Add(within)); err != nil {
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	if _, err := l.conn.Write(tcpFrame(l.transaction, unit, q.pdu())); err != nil {
		return nil, fmt.Errorf("%w: %w", errLost, asTimeout(err))
	}
	for {
		a, err := readTCP(l.conn)
		switch {
		case errors.Is(err, errNothing):
			return nil, l.unanswered(within)
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errLost, err)
		case a.transaction != l.transaction:
			continue
		case a.unit != unit:
			return nil, fmt.Errorf("%w: unit %d was asked and unit %d answers; is that its address?", errMisfit, unit, a.unit)
		}
		l.silent = 0
		return q.data(a.pdu)
	}
}

func (l *tcpLink) unanswered(within time.Duration) error {
	err := fmt.Errorf("no answer within %s: %w", within, sensors.ErrTimeout)
	if l.silent++; l.silent >= silentLimit {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

// tcpFrame puts a request into its frame.
func tcpFrame(transaction uint16, unit byte, pdu []byte) []byte {
	f := binary.BigEndian.AppendUint16(nil, transaction)
	f = append(f, 0, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(len(pdu)+1))
	return append(append(f, unit), pdu...)
}

// tcpAnswer is a frame that came in.
type tcpAnswer struct {
	transaction uint16
	unit        byte
	pdu         []byte
}

// errNothing: the deadline passed before the first byte of a frame, so that the next one can still be read.
var errNothing = errors.New("nothing came")

// readTCP reads one frame. After any error but errNothing the reader is out of step.
func readTCP(r io.Reader) (tcpAnswer, error) {
	var h [headerSize]byte
	if n, err := io.ReadFull(r, h[:]); err != nil {
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			return tcpAnswer{}, errNothing
		}
		return tcpAnswer{}, fmt.Errorf("answer cut after %d bytes: %w", n, asTimeout(err))
	}
	length := int(binary.BigEndian.Uint16(h[4:]))
	if h[2] != 0 || h[3] != 0 || length < 2 || length > maxPDU+1 {
		return tcpAnswer{}, fmt.Errorf("what came is no Modbus frame: % x", h)
	}
	pdu := make([]byte, length-1)
	if n, err := io.ReadFull(r, pdu); err != nil {
		return tcpAnswer{}, fmt.Errorf("answer cut after %d bytes: %w", headerSize+n, asTimeout(err))
	}
	return tcpAnswer{transaction: binary.BigEndian.Uint16(h[:]), unit: h[6], pdu: pdu}, nil
}

// asTimeout makes the passing of a deadline an ErrTimeout.
func asTimeout(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return sensors.ErrTimeout
	}
	return err
}
