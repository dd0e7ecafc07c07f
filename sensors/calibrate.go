package sensors

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// calibrate returns the samples as the entries correct them; without entries the given ones, otherwise a copy, because a driver may keep its own. It
// fails when a corrected value is none any more.
func calibrate(entries []Calibration, samples []Sample) ([]Sample, error) {
	if len(entries) == 0 {
		return samples, nil
	}
	samples = slices.Clone(samples)
	for i := range entries {
		v := find(samples, entries[i].Sample)
		if v == nil {
			continue
		}
		was := v.Value
		if v.Value = entries[i].apply(was); math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
			return nil, fmt.Errorf("%s is %g after calibration of %g, which is no measurement", v.Name, v.Value, was)
		}
	}
	return samples, nil
}

func (c *Calibration) apply(v float64) float64 {
	switch {
	case len(c.Points) > 1:
		return along(c.Points, v)
	case c.Scale != nil:
		v *= *c.Scale
	}
	return v + c.Offset
}

// along returns the value at x of the straight lines through the points, the outer ones prolonged.
func along(points [][]float64, x float64) float64 {
	i := sort.Search(len(points), func(i int) bool { return points[i][0] >= x }) // the first point that is not left of x
	i = min(max(i, 1), len(points)-1)
	a, b := points[i-1], points[i]
	if x == b[0] { // exact, where the division might not be
		return b[1]
	}
	return a[1] + (x-a[0])/(b[0]-a[0])*(b[1]-a[1])
}
