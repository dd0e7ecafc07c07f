package hubsim_test

import (
	"testing"

	"go.uber.org/goleak"
)

// net/http keeps a connection whose request it did not read to the end for 500 ms after Close, so that the answer
// arrives (closeWriteAndWait). goleak waits 430 ms in all, so a test of that kind, when it came last, was a leak to it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}
