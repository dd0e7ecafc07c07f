package agent

import (
	"iotagent/agent/patience"
	"iotagent/internal/backoff"
	"iotagent/iothub"
)

// waits says how long to stay away from the hub after each class of error.
func waits(class iothub.Class) backoff.Backoff { return patience.Rule(class) }
