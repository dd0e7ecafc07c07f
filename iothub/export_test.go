package iothub

import "time"

// DateWithin is what a Date leaves open that came so long after the question.
func DateWithin(took time.Duration) (time.Duration, error) { return dateWithin(took) }
