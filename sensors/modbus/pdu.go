package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"

	"iotagent/sensors"
)

// The functions that read (specification V1.1b3, sections 6.1 to 6.4).
const (
	readCoils    = 1
	readDiscrete = 2
	readHolding  = 3
	readInput    = 4
)

// What one request may ask for (sections 6.1 and 6.3).
const (
	maxRegisters = 125
	maxBits      = 2000
)

// exceptionFlag marks the function of an answer that is an exception (section 7).
const exceptionFlag = 0x80

var (
	// errMisfit: an answer came that is not one to the request.
	errMisfit = errors.New("the answer does not fit the request")
	// errNoValue: the unit has no value to give.
	errNoValue = errors.New("no value")
)

// ExceptionError is what a unit answers when it refuses a request, by its code (section 7).
type ExceptionError byte

// Error says what the code means and what to look at.
func (e ExceptionError) Error() string {
	text := map[ExceptionError]string{
		1:  "illegal function: the unit does not have this table",
		2:  "illegal data address: the unit does not have all of these addresses; check table and address (they count from 0), or lower batch and max_gap",
		3:  "illegal data value: the unit does not take this many at once; lower batch",
		4:  "the unit failed",
		5:  "acknowledged, the unit needs longer",
		6:  "the unit is busy",
		8:  "memory parity error in the unit",
		10: "the gateway has no path to the unit",
		11: "the unit does not answer the gateway",
	}[e]
	if text == "" {
		text = "unknown"
	}
	return fmt.Sprintf("exception %d: %s", byte(e), text)
}

// Is makes the exception of a gateway that waited in vain a timeout.
func (e ExceptionError) Is(target error) bool { return e == 11 && target == sensors.ErrTimeout }

// query asks for neighbouring registers or bits.
type query struct {
	function       byte
	address, count int
}

// String names what is asked for: "holding 0 to 9".
func (q query) String() string {
	table := map[byte]string{readCoils: "coil", readDiscrete: "discrete", readHolding: "holding", readInput: "input"}[q.function]
	if q.count == 1 {
		return fmt.Sprintf("%s %d", table, q.address)
	}
	return fmt.Sprintf("%s %d to %d", table, q.address, q.address+q.count-1)
}

// bits reports whether q asks for bits.
func (q query) bits() bool { return q.function == readCoils || q.function == readDiscrete }

// size returns how many bytes of data the answer has.
func (q query) size() int {
	if q.bits() {
		return (q.count + 7) / 8
	}
	return 2 * q.count
}

// pdu returns the request as it goes into a frame.
func (q query) pdu() []byte {
	pdu := binary.BigEndian.AppendUint16([]byte{q.function}, uint16(q.address))
	return binary.BigEndian.AppendUint16(pdu, uint16(q.count))
}

// data returns the data of an answer to q.
func (q query) data(pdu []byte) ([]byte, error) {
	switch {
	case len(pdu) == 2 && pdu[0] == q.function|exceptionFlag:
		return nil, ExceptionError(pdu[1])
	case len(pdu) < 2 || pdu[0] != q.function:
		return nil, fmt.Errorf("%w: function %d was asked and % x answered", errMisfit, q.function, pdu[:min(len(pdu), 2)])
	case int(pdu[1]) != q.size() || len(pdu) != 2+q.size():
		return nil, fmt.Errorf("%w: it says %d bytes and has %d, want %d", errMisfit, pdu[1], len(pdu)-2, q.size())
	}
	return pdu[2:], nil
}
