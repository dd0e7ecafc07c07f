package main

import (
	"context"
	"fmt"
	"io"
	"os/user"
	"strings"
	"text/tabwriter"

	"iotagent/internal/cli"
	"iotagent/sensors"
	"iotagent/sensors/all"
	"iotagent/sensors/scan"
)

type scanCommand struct {
	Bus     []string `help:"Only these I²C buses: 1, or 1/0x70:3 behind a multiplexer; those of displays, otherwise left alone, too." placeholder:"BUS"`
	NoProbe bool     `help:"Read nothing from I²C chips; tell only what the kernel knows."`
	JSON    bool     `help:"Print JSON."`
}

// Run looks what the machine has that can be measured with. It needs no configuration, and finding nothing is no failure.
func (c *scanCommand) Run(ctx context.Context, std cli.IO) error {
	for _, bus := range c.Bus {
		if _, err := sensors.ParseI2C(bus); err != nil {
			return cli.Fail(cli.Usage, err, "iotagent scan without --bus lists the buses")
		}
	}
	hw := sensors.NewHardware("/", nil)
	defer func() { _ = hw.Close() }() // a bus that hangs has been reported
	r := scan.Run(ctx, hw, scan.Options{Drivers: all.Drivers(), Buses: c.Bus, NoProbe: c.NoProbe, User: userName()})
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.JSON {
		return printObject(std.Out, r)
	}
	return printScan(std.Out, r)
}

// userName is who shall be let into groups.
func userName() string {
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "$USER"
	}
	return u.Username
}

func printScan(w io.Writer, r *scan.Report) error {
	if r.Board != "" {
		fmt.Fprintf(w, "%s\n\n", r.Board)
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	printBuses(tab, r.I2C)
	section(tab, "1-Wire", r.OneWire, func(d scan.OneWire) string {
		return fmt.Sprintf("  %s\t%s\t%s", d.ID, orElse(d.Name, "an unknown family"), typed(d.Type))
	})
	section(tab, "Measured by kernel drivers", r.Kernel, func(d scan.Measured) string {
		return fmt.Sprintf("  %s\t%s\ttype %s: %s", d.Chip, d.Device, d.Type, strings.Join(d.Channels, ", "))
	})
	port := func(p scan.Port) string {
		return fmt.Sprintf("  %s\t%s\t%s\t%s", p.Path, p.Device, typed(strings.Join(p.Types, ", ")), p.Note)
	}
	section(tab, "SPI ports", r.SPI, port)
	section(tab, "Serial ports", r.Serial, port)
	if err := tab.Flush(); err != nil {
		return err
	}
	printGPIO(w, r.GPIO)
	section(w, "What to do", r.Advice, func(a string) string { return "  " + a })
	if r.Config == "" {
		fmt.Fprintln(w, "No sensor was found. Wire one to a bus above, then scan again; type = \"sim\" and type = \"system\" need none.")
		return nil
	}
	fmt.Fprintf(w, "To paste into the configuration, under names that say what is measured; then: iotagent check --probe\n\n%s", r.Config)
	return nil
}

// section prints a title and a line for each of list; nothing when there is none.
func section[T any](w io.Writer, title string, list []T, line func(T) string) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w, title)
	for _, v := range list {
		fmt.Fprintln(w, strings.TrimRight(line(v), "\t"))
	}
	fmt.Fprintln(w)
}

func typed(driver string) string {
	if driver == "" {
		return ""
	}
	return "type " + driver
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func printBuses(w io.Writer, buses []scan.Bus) {
	for _, b := range buses {
		fmt.Fprintf(w, "I²C bus %s", b.Bus)
		if b.Name != "" {
			fmt.Fprintf(w, ", %s", b.Name)
		}
		fmt.Fprintln(w)
		for i := range b.Chips {
			fmt.Fprintf(w, "  %s\t%s\n", b.Chips[i].Address, chipText(b.Bus, &b.Chips[i]))
		}
		switch {
		case b.Problem != "":
			fmt.Fprintf(w, "  %s\n", b.Problem)
		case len(b.Chips) == 0:
			fmt.Fprintln(w, "  nothing answers")
		}
		fmt.Fprintln(w)
	}
}

func chipText(bus string, c *scan.Chip) string {
	switch {
	case c.Driver != "":
		return orElse(c.Name, "a chip") + "\tof the kernel driver " + c.Driver
	case c.Name != "":
		return c.Name + "\ttype " + c.Type
	case c.Multiplexer:
		return fmt.Sprintf("possibly a multiplexer (TCA9548A or PCA9548A); iotagent scan --bus %s/%s:0 looks behind its channel 0", bus, c.Address)
	case len(c.Possible) > 0:
		return "possibly\ttype " + strings.Join(c.Possible, ", ")
	}
	return "a chip that no driver here knows"
}

func printGPIO(w io.Writer, chips []scan.GPIOChip) {
	for i := range chips {
		c := &chips[i]
		fmt.Fprintf(w, "GPIO chip %s", c.Name)
		if c.Label != "" {
			fmt.Fprintf(w, ", %s", c.Label)
		}
		if c.Problem != "" {
			fmt.Fprintf(w, "\n  %s\n\n", c.Problem)
			continue
		}
		fmt.Fprintf(w, ": %d of %d lines are free", len(c.Free), c.Lines)
		if len(c.Types) > 0 {
			fmt.Fprintf(w, ", for %s", typed(strings.Join(c.Types, ", ")))
		}
		fmt.Fprintln(w)
		printWrapped(w, "  free: ", lineTexts(c.Free))
		printWrapped(w, "  used: ", lineTexts(c.Used))
		fmt.Fprintln(w)
	}
}

// lineTexts names lines; those without a name together, by their numbers.
func lineTexts(lines []scan.Line) []string {
	var texts []string
	for i := 0; i < len(lines); {
		l := lines[i]
		if l.Name != "" || l.Consumer != "" || l.Pin != "" {
			text := orElse(l.Name, fmt.Sprint(l.Offset))
			if l.Pin != "" {
				text += " (" + l.Pin + ")"
			}
			if l.Consumer != "" {
				text += " by " + l.Consumer
			}
			texts = append(texts, text)
			i++
			continue
		}
		first := i
		for i++; i < len(lines) && lines[i] == (scan.Line{Offset: l.Offset + uint32(i-first)}); {
			i++
		}
		text := fmt.Sprint(l.Offset)
		if i > first+1 {
			text += fmt.Sprintf("–%d", lines[i-1].Offset)
		}
		texts = append(texts, text)
	}
	return texts
}

// printWrapped prints words after a title, in lines that fit a terminal.
func printWrapped(w io.Writer, title string, words []string) {
	const width = 100
	line := title
	for i, word := range words {
		if i < len(words)-1 {
			word += ", "
		}
		if len(line)+len(word) > width {
			fmt.Fprintln(w, strings.TrimRight(line, " "))
			line = strings.Repeat(" ", len(title))
		}
		line += word
	}
	if len(words) > 0 {
		fmt.Fprintln(w, line)
	}
}
