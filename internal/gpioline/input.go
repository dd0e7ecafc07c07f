package gpioline

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Events that the kernel keeps for us, at most (GPIO_V2_LINES_MAX × 16), and that are read from it at once.
const (
	kernelEvents = 1024
	batch        = 64
)

// InputOptions says how an input is taken. The zero value changes nothing but the direction, and reports no edges.
type InputOptions struct {
	// Consumer is what the kernel shows as the line's holder, cut to 31 bytes.
	Consumer string
	// Flags are any of FlagActiveLow, FlagEdge… and FlagBias….
	Flags uint64
	// Debounce is how long a level has to last until it counts; 0 for none.
	Debounce time.Duration
}

// Input is an input line. Its methods may be called concurrently, Wait by one goroutine.
type Input struct {
	f   *os.File
	raw [batch]lineEvent // Wait's
}

// Event is an edge of an input.
type Event struct {
	// Rising says that the line became active.
	Rising bool
	// Nanoseconds is when, by CLOCK_MONOTONIC: taken in the interrupt, or with Debounce when the level had lasted.
	Nanoseconds int64
	// Seq numbers the events of the line from 1; missing ones did not fit into the kernel's buffer.
	Seq uint32
}

// TakeInput takes the line as an input. An error wraps unix.EBUSY when somebody holds it.
func TakeInput(l Line, o InputOptions) (*Input, error) {
	config := lineConfig{flags: FlagInput | o.Flags}
	if o.Debounce > 0 {
		us := min(max(o.Debounce.Microseconds(), 1), 1<<32-1)
		config.add(unix.GPIO_V2_LINE_ATTR_ID_DEBOUNCE, firstHalf(uint32(us)))
	}
	events := uint32(0)
	if o.Flags&(FlagEdgeRising|FlagEdgeFalling) != 0 {
		events = kernelEvents
	}
	fd, err := request(l.Chip.Path, l.Offset, o.Consumer, config, events)
	if err != nil {
		return nil, l.explain(err)
	}
	return newInput(fd, l.String())
}

// newInput hands the descriptor to the runtime's poller: a goroutine that waits for events costs no thread, and Close wakes it.
func newInput(fd int, name string) (*Input, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &Input{f: os.NewFile(uintptr(fd), name)}, nil
}

// Active returns whether the line is active.
func (in *Input) Active() (bool, error) {
	conn, err := in.f.SyscallConn()
	if err != nil {
		return false, err
	}
	v := lineValues{mask: 1}
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = ioctl(int(fd), unix.GPIO_V2_LINE_GET_VALUES_IOCTL, &v)
	}); err != nil {
		return false, fmt.Errorf("%s: %w", in.f.Name(), os.ErrClosed)
	}
	return v.bits&1 != 0, failed
}

// Wait waits for edges and returns at least one, in order, or an error: os.ErrClosed after Close, unix.ENODEV when the chip is gone.
// Kernels before 6.4 tell the latter only when asked for the level.
func (in *Input) Wait(events []Event) ([]Event, error) {
	size := int(unsafe.Sizeof(lineEvent{}))
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&in.raw[0])), size*batch) //nolint:gosec // the kernel writes whole structures
	n, err := in.f.Read(buf)
	if err != nil {
		return events, err
	}
	if n == 0 || n%size != 0 {
		return events, fmt.Errorf("%s: the kernel gave %d bytes of events of %d", in.f.Name(), n, size)
	}
	for _, e := range in.raw[:n/size] {
		if e.id != unix.GPIO_V2_LINE_EVENT_RISING_EDGE && e.id != unix.GPIO_V2_LINE_EVENT_FALLING_EDGE {
			return events, fmt.Errorf("%s: the kernel gave an event of unknown kind %d", in.f.Name(), e.id)
		}
		events = append(events, Event{
			Rising: e.id == unix.GPIO_V2_LINE_EVENT_RISING_EDGE, Nanoseconds: int64(e.timestamp), Seq: e.lineSeqno,
		})
	}
	return events, nil
}

// Close lets the line go and ends a Wait.
func (in *Input) Close() error { return in.f.Close() }
