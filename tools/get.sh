#!/usr/bin/env bash
# get.sh NAME: prints the path of a tool of tools/go.mod, building it first where it is not there yet.
# Its file name holds the tool's version and Go's, so that a change of either builds anew and nothing else does.
set -euo pipefail
cd "$(dirname "$0")"
name=${1:?name of a tool in tools/go.mod}
pkg=$(go list -f '{{.ImportPath}}' tool | grep "/$name\$") || {
	echo "tools/get.sh: no tool called $name in tools/go.mod" >&2
	exit 2
}
version=$(go list -f '{{.Module.Version}}' "$pkg")
dir=$(cd .. && pwd)/.build/tools
bin=$dir/$name-$version-$(go env GOVERSION)
if [ ! -x "$bin" ]; then
	echo "building $name $version (golangci-lint takes about 3 minutes on two cores the first time)" >&2
	mkdir -p "$dir"
	nice -n 10 go build -trimpath -ldflags '-s -w' -o "$bin.$$" "$pkg"
	mv "$bin.$$" "$bin"
fi
printf '%s\n' "$bin"
