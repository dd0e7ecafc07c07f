package sensors

import "time"

// Bias is what holds an input at a level when nothing drives it.
type Bias string

// The biases that the kernel can set, where the chip has them.
const (
	BiasAsIs     Bias = ""
	BiasNone     Bias = "none"
	BiasPullUp   Bias = "pull-up"
	BiasPullDown Bias = "pull-down"
)

// InputOptions says how an input line is taken. The zero value changes nothing of the line and reports no edges.
type InputOptions struct {
	// Consumer is what the kernel shows as the line's holder, cut to 31 bytes; "" means "iotagent".
	Consumer string
	// Bias of the line.
	Bias Bias
	// ActiveLow makes a low line read as true.
	ActiveLow bool
	// Rising and Falling ask for the edges of that kind; they are meant after ActiveLow is applied.
	Rising, Falling bool
	// Debounce is how long a level has to last until it counts; by the kernel. 0 for none.
	Debounce time.Duration
}

// Input is a GPIO line that was taken as an input. Its methods may be called concurrently; Close once.
type Input interface {
	// String names the line both ways: "GPIO17 (gpiochip0:17)".
	String() string
	// Read returns whether the line is active.
	Read() (bool, error)
	// Edges delivers the edges in order. The channel is closed when the line is: by Close, or because its chip is gone.
	Edges() <-chan Edge
	// Close lets the line go.
	Close() error
}

// Edge is a change of a line, as the kernel saw it.
type Edge struct {
	// Active is the line's new state.
	Active bool
	// At is the kernel's time of the edge, with a monotonic part.
	At time.Time
	// Seq numbers the edges of the line from 1; a number that is missing is an edge that the kernel's buffer had no room for.
	Seq uint32
}
