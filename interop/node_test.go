//go:build interop

package interop

import (
	"os/exec"
	"testing"
)

// node returns where Node.js is.
func node(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: nothing was tested with other people's clients")
	}
	return path
}
