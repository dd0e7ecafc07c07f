package sensors

import (
	"context"
	"errors"
	"time"

	"iotagent/internal/backoff"
)

// Wait waits for d, as a driver does while its chip converts. Its error is that of Expired.
func Wait(ctx context.Context, d time.Duration) error {
	if backoff.Sleep(ctx, d) != nil {
		return Expired(ctx)
	}
	return nil
}

// Expired returns nil while ctx is alive, afterwards why it is not. A deadline that has passed wraps ErrTimeout.
func Expired(ctx context.Context) error {
	switch {
	case ctx.Err() == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return expiredError{}
	default:
		return context.Cause(ctx)
	}
}

// expiredError is ErrTimeout because of a context, in words that say nothing of contexts.
type expiredError struct{}

func (expiredError) Error() string { return ErrTimeout.Error() }

func (expiredError) Unwrap() []error { return []error{ErrTimeout, context.DeadlineExceeded} }
