// Package all is the list of command handler types. A new one is a package and a line here.
package all

import (
	"iotagent/c2d"
	"iotagent/c2d/execcmd"
	"iotagent/c2d/gpiocmd"
)

// Types returns every handler type, by name.
func Types() []c2d.Type {
	return []c2d.Type{
		execcmd.Type(),
		gpiocmd.Type(),
	}
}
