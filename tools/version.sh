#!/bin/sh
# version.sh [--deb]: the version of this tree: $VERSION where it is set, the release tag that the tree stands on or
# follows, otherwise the file VERSION and the commit. With --deb in a form that dpkg sorts the same way (a build after 0.1.0 is newer than 0.1.0).
set -eu
cd "$(dirname "$0")/.."
base=$(cat VERSION)
v=${VERSION-}
[ -n "$v" ] || v=$(git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null | sed 's/^v//') || v=
if [ -z "$v" ]; then
	commit=$(git rev-parse --short=9 HEAD 2>/dev/null) || commit=
	v=$base${commit:+-dev-g$commit}
fi
if [ "${1-}" = --deb ]; then
	# 0.1.0-rc1 and 0.1.0-dev-gX come before 0.1.0; 0.1.0-3-gX comes after it.
	v=$(printf '%s' "$v" | sed -E 's/-(rc|dev)/~\1/; s/-/+/; s/-/./g')
fi
printf '%s\n' "$v"
