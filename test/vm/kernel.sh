#!/usr/bin/env bash
# kernel.sh OUT: downloads Debian's newest amd64 kernel of trixie-backports and unpacks it into OUT, unless OUT has one. It uses
# an apt state of its own: nothing is installed, and the machine's package sources stay as they are. (The kernels of
# bookworm and trixie themselves are built without gpio-sim.)
set -euo pipefail
suite=trixie-backports
out=$1
[ ! -e "$out/complete" ] || exit 0
rm -rf "$out"
mkdir -p "$out"
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
chmod 755 "$state" # apt's own user reads it
mkdir -p "$state/lists/partial" "$state/deb"

# shellcheck disable=SC2016 # apt expands it
mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -n 1 || true)
[ -n "$mirror" ] || { echo "kernel.sh: apt knows no Debian mirror: run apt-get update first" >&2; exit 1; }
echo "deb [arch=amd64] $mirror $suite main" >"$state/sources.list"
apt=(-o APT::Architecture=amd64 -o APT::Architectures=amd64 -o Dir::Etc::sourcelist="$state/sources.list"
	-o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$state/lists" -o Dir::State::status=/dev/null
	-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
apt-get "${apt[@]}" -qq update

# The meta package names the kernel's version; newer ones keep image and modules in packages of their own.
needs() { apt-cache "${apt[@]}" depends "$1" | sed -nE 's/^ *Depends: (linux-(image|binary|modules|base)-[0-9][^ ]*)$/\1/p'; }
packages=$(needs linux-image-amd64)
for p in $packages; do packages+=$'\n'$(needs "$p"); done
mapfile -t packages < <(sort -u <<<"$packages" | grep .)
[ ${#packages[@]} -gt 0 ] || { echo "kernel.sh: $suite has no linux-image-amd64" >&2; exit 1; }
(cd "$state/deb" && apt-get "${apt[@]}" -qq download "${packages[@]}")
for deb in "$state"/deb/*.deb; do dpkg-deb -x "$deb" "$out"; done
touch "$out/complete"
