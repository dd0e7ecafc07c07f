package modbus

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Register is one value of a unit.
type Register struct {
	// Name is lower_snake_case and ends in the unit of measure: "voltage_volts".
	Name string `toml:"name"`
	// Table is "coil", "discrete", "holding" or "input".
	Table string `toml:"table"`
	// Address is that of the first register, counted from Config.AddressBase.
	Address *int `toml:"address"`
	// Type is "uint16" (default), "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", or "bit", which coils and discrete inputs are.
	Type string `toml:"type"`
	// Bit is which bit of a register is meant, 0 (default) for the least significant, to 15.
	Bit int `toml:"bit"`
	// Order is that of the bytes: "ABCD" (default), "CDAB", "BADC" or "DCBA".
	Order string `toml:"order"`
	// Scale and Offset make the value of the raw number: raw × scale + offset. Default 1 and 0.
	Scale  *float64 `toml:"scale"`
	Offset float64  `toml:"offset"`
	// Reject are raw numbers that mean that there is no value; those of an integer may be written with or without their sign.
	Reject []float64 `toml:"reject"`
}

// addresses is how many addresses a table has.
const addresses = 1 << 16

// types returns the types of registers.
func types() []string {
	return []string{"uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "bit"}
}

// isBit reports whether r is in a table of bits.
func (r *Register) isBit() bool { return r.Table == "coil" || r.Table == "discrete" }

// kind returns Type with its default.
func (r *Register) kind() string {
	switch {
	case r.Type != "":
		return r.Type
	case r.isBit():
		return "bit"
	default:
		return "uint16"
	}
}

// count returns how many registers, or bits, r takes.
func (r *Register) count() int {
	switch k := r.kind(); {
	case strings.HasSuffix(k, "64"):
		return 4
	case strings.HasSuffix(k, "32"):
		return 2
	default:
		return 1
	}
}

// first returns the protocol address of r.
func (r *Register) first(base *int) int {
	if base == nil {
		return *r.Address
	}
	return *r.Address - *base
}

func (r *Register) validate(bad func(key, msg string), base *int) {
	const longest = 64
	switch {
	case r.Name == "":
		bad("name", `is missing; it is lower_snake_case and ends in the unit of measure, such as "voltage_volts"`)
	case !regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`).MatchString(r.Name) || len(r.Name) > longest:
		bad("name", fmt.Sprintf("want at most %d small letters, digits and \"_\", such as \"voltage_volts\", got %q", longest, r.Name))
	}
	switch {
	case r.Table == "":
		bad("table", `is missing: "coil", "discrete", "holding" or "input"`)
	case !slices.Contains([]string{"coil", "discrete", "holding", "input"}, r.Table):
		bad("table", fmt.Sprintf(`want "coil", "discrete", "holding" or "input", got %q`, r.Table))
	default:
		r.checkAddress(bad, base)
	}
	switch k := r.kind(); {
	case !slices.Contains(types(), k):
		bad("type", fmt.Sprintf("want one of %s, got %q", strings.Join(types(), ", "), k))
	case r.isBit() && k != "bit":
		bad("type", fmt.Sprintf("a %s is a bit, got %q; numbers are in the tables holding and input", r.Table, k))
	}
	r.checkValue(bad)
}

// checkValue checks the keys that make a value of the raw number.
func (r *Register) checkValue(bad func(key, msg string)) {
	if !slices.Contains([]string{"", "ABCD", "CDAB", "BADC", "DCBA"}, r.Order) {
		bad("order", fmt.Sprintf(`want "ABCD" (big-endian, the default), "CDAB" (words swapped), "BADC" (bytes swapped) or "DCBA" (little-endian), got %q`, r.Order))
	}
	bit := r.kind() == "bit"
	switch {
	case r.Bit < 0 || r.Bit > 15:
		bad("bit", fmt.Sprintf("want 0 to 15, got %d", r.Bit))
	case r.Bit != 0 && (!bit || r.isBit()):
		bad("bit", `is for type = "bit" in the tables holding and input`)
	}
	switch {
	case r.Scale == nil:
	case *r.Scale == 0:
		bad("scale", "0 would make every value the same")
	case bit:
		bad("scale", "a bit is 0 or 1")
	}
	if bit && r.Offset != 0 {
		bad("offset", "a bit is 0 or 1")
	}
	if bit && len(r.Reject) > 0 {
		bad("reject", "a bit has no number to spare")
	}
}

func (r *Register) checkAddress(bad func(key, msg string), base *int) {
	if r.Address == nil {
		bad("address", "is missing")
		return
	}
	a, low := *r.Address, 0
	if base != nil {
		low = *base
	}
	number, looks := r.reference()
	switch {
	case looks && (base == nil || *base != 0 || a >= addresses):
		msg := fmt.Sprintf("want the address without the digit of its table: what a manual calls register %d is address = %d", a, number-1+low)
		if a < addresses {
			msg += fmt.Sprintf("; where %d is what goes over the wire, say address_base = 0", a)
		}
		bad("address", msg)
	case a < low || a-low > addresses-r.count():
		bad("address", fmt.Sprintf("want %d to %d, got %d", low, addresses-r.count()+low, a))
	}
}

// reference reports whether the address looks like a reference number of the old form, whose first digit is the table, and
// returns the register's number in it, from 1.
func (r *Register) reference() (number int, ok bool) {
	digit := map[string]int{"discrete": 1, "input": 3, "holding": 4}[r.Table]
	if digit == 0 {
		return 0, false
	}
	for _, unit := range []int{10_000, 100_000} {
		if n := *r.Address - digit*unit; n >= 1 && n < unit && n <= addresses {
			return n, true
		}
	}
	return 0, false
}

// value returns the register's value from its bytes as they came.
func (r *Register) value(b []byte) (float64, error) {
	raw, twin := number(ordered(b, r.Order), r.kind(), r.Bit)
	small := strings.HasPrefix(r.kind(), "float") && raw != 0 && math.Abs(raw) < 1e-30
	switch {
	case slices.Contains(r.Reject, raw), slices.Contains(r.Reject, twin):
		return 0, fmt.Errorf("%s: the unit answers % x, which it uses for no value: %w", r.Name, b, errNoValue)
	case math.IsNaN(raw) || math.IsInf(raw, 0):
		return 0, fmt.Errorf("%s: the unit answers % x, which is %g: %w", r.Name, b, raw, errNoValue)
	case small:
		return 0, fmt.Errorf("%s: % x would be %g, as with a wrong order of bytes (order = %q): %w", r.Name, b, raw, cmp.Or(r.Order, "ABCD"), errNoValue)
	}
	v := r.scaled(raw)
	if math.IsInf(v, 0) {
		return 0, fmt.Errorf("%s: %g with this scale is no finite number: %w", r.Name, raw, errNoValue)
	}
	return v, nil
}

// scaled applies scale and offset. A scale such as 0.1 is no binary number: to divide by 10 gives 230.1 where to multiply gives 230.10000000000002.
func (r *Register) scaled(raw float64) float64 {
	v := raw
	if s := r.Scale; s != nil {
		if n := math.Round(1 / *s); math.Abs(n) > 1 && 1/n == *s {
			v = raw / n
		} else {
			v = raw * *s
		}
	}
	return v + r.Offset
}
