package sensors

import "fmt"

// Incomplete ends a Read of several independent things: it returns the samples when nothing is missing, the samples with an error that wraps ErrIncomplete
// and names all that is missing, in one line, when something is, and an error alone when nothing is left.
func Incomplete(samples []Sample, missing []error) ([]Sample, error) {
	if len(missing) == 0 {
		return samples, nil
	}
	err := missing[0]
	for _, m := range missing[1:] {
		err = fmt.Errorf("%w; %w", err, m)
	}
	if len(samples) == 0 {
		return nil, err
	}
	return samples, fmt.Errorf("%w: %w", ErrIncomplete, err)
}
