package gpioline

import "golang.org/x/sys/unix"

// Output is an output line that nobody else can drive until Close. Its methods must not be called concurrently.
type Output struct{ fd int }

// TakeOutput takes the line as an output that starts at the given level. An error wraps unix.EBUSY when somebody holds it.
func TakeOutput(l Line, consumer string, high bool) (*Output, error) {
	config := lineConfig{flags: FlagOutput}
	config.add(unix.GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES, bit(high))
	fd, err := request(l.Chip.Path, l.Offset, consumer, config, 0)
	if err != nil {
		return nil, l.explain(err)
	}
	return &Output{fd: fd}, nil
}

// Set drives the line.
func (o *Output) Set(high bool) error {
	v := lineValues{bits: bit(high), mask: 1}
	return ioctl(o.fd, unix.GPIO_V2_LINE_SET_VALUES_IOCTL, &v)
}

// Close lets the line go. What level it has from then on is up to the chip.
func (o *Output) Close() error { return unix.Close(o.fd) }
