package patience_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"iotagent/internal/golden"
)

// The drawing in docs/link.md.
func TestPlot(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 560" font-family="sans-serif" font-size="12">` + "\n" +
		`<rect width="760" height="560" fill="#fff"/>` + "\n")
	o, r := outage(), restart()
	panel(&b, &figure{
		storm: o, top: 40, step: 10 * time.Second, until: 36 * time.Minute, tick: 5 * time.Minute, unit: time.Minute,
		title: "10 000 agents, the hub is away for half an hour, then admits 100 a second", axis: "minutes",
	})
	panel(&b, &figure{
		storm: r, top: 320, step: time.Second, until: 180 * time.Second, tick: 20 * time.Second, unit: time.Second,
		title: "10 000 agents, the hub restarts within a second, then admits 100 a second", axis: "seconds",
	})
	b.WriteString("</svg>\n")
	golden.Check(t, "../../docs/storm.svg", b.Bytes(), *update)
}

// figure is one storm over time, in averages of a step, on a logarithmic scale of events a second.
type figure struct {
	*storm
	top               int
	step, until, tick time.Duration
	unit              time.Duration // of the time axis
	title, axis       string
}

// The inside of a panel.
const (
	left, width   = 60, 680
	height        = 180
	decades       = 4
	attemptsColor = "#c2410c"
	admittedColor = "#1d4ed8"
)

func (f *figure) x(at time.Duration) int { return left + int(width*at/f.until) }

// y is 0 at one a second and below.
func (f *figure) y(rate float64) int {
	if rate <= 1 {
		return f.top + height
	}
	return f.top + height - int(math.Round(math.Log10(rate)*height/decades))
}

// line draws the rate of what was counted.
func (f *figure) line(seconds []int, color string) string {
	var points strings.Builder
	for at := time.Duration(0); at+f.step <= f.until; at += f.step {
		rate := float64(in(seconds, at, at+f.step)) / f.step.Seconds()
		fmt.Fprintf(&points, " %d,%d", f.x(at+f.step/2), f.y(rate))
	}
	return fmt.Sprintf(`<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>`, color, strings.TrimSpace(points.String()))
}

func panel(b *bytes.Buffer, f *figure) {
	bottom := f.top + height
	fmt.Fprintf(b, `<text x="%d" y="%d" font-size="14">%s</text>`+"\n", left, f.top-14, f.title)
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="#eee"/>`+"\n", f.x(f.leaves), f.top, max(f.x(f.returns)-f.x(f.leaves), 1), height)
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="#666">away</text>`+"\n", f.x(f.leaves)+4, f.top+14)
	for n := range decades + 1 {
		rate := int(math.Round(math.Pow10(n)))
		y := f.y(float64(rate))
		fmt.Fprintf(b, `<path d="M%d %dh%d" stroke="#ddd"/><text x="%d" y="%d" text-anchor="end">%d</text>`+"\n", left, y, width, left-6, y+4, rate)
	}
	for at := time.Duration(0); at <= f.until; at += f.tick {
		fmt.Fprintf(b, `<path d="M%d %dv5" stroke="#333"/><text x="%d" y="%d" text-anchor="middle">%d</text>`+"\n", f.x(at), bottom, f.x(at), bottom+18, at/f.unit)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+width/2, bottom+34, f.axis)
	fmt.Fprintf(b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">connects per second</text>`+"\n", f.top+height/2)
	b.WriteString(f.line(f.attempts, attemptsColor) + "\n" + f.line(f.admitted, admittedColor) + "\n")
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end" fill="%s">attempts</text>`+"\n", left+width-4, f.top+14, attemptsColor)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end" fill="%s">admitted</text>`+"\n", left+width-4, f.top+30, admittedColor)
	fmt.Fprintf(b, `<path d="M%d %dv%dh%d" fill="none" stroke="#333"/>`+"\n", left, f.top, height, width)
}
