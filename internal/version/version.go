// Package version says which build this is.
package version

import "runtime/debug"

// Version is set by the linker (-X iotagent/internal/version.Version=1.2.3); empty in a plain go build.
var Version string //nolint:gochecknoglobals // the linker can only set a package variable

// String returns the version of this build: the linker's, otherwise the module's revision, otherwise "devel".
func String() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "devel-" + s.Value[:12]
			}
		}
	}
	return "devel"
}
