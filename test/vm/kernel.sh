#!/usr/bin/env bash
# kernel.sh OUT [ARCH]: downloads Debian's newest kernel of trixie-backports and a static busybox, for amd64 or ARCH, and unpacks them
# into OUT, unless OUT has them. It uses an apt state of its own: nothing is installed, and the machine's package sources stay as they
# are. (The kernels of bookworm and trixie themselves are built without gpio-sim.)
set -euo pipefail
suite=trixie-backports
out=$1
arch=${2:-amd64}
[ ! -e "$out/complete" ] || [ ! -x "$out/usr/bin/busybox" ] || exit 0
rm -rf "$out"
mkdir -p "$out"
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
chmod 755 "$state" # apt's own user reads it
mkdir -p "$state/lists/partial" "$state/deb"

# shellcheck disable=SC2016 # apt expands it
mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sed -n 1p || true)
[ -n "$mirror" ] || { echo "kernel.sh: apt knows no Debian mirror: run apt-get update first" >&2; exit 1; }
printf "deb [arch=$arch] $mirror %s main\n" "${suite%-*}" "$suite" >"$state/sources.list"
apt=(-o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Default-Release="$suite" -o Dir::Etc::sourcelist="$state/sources.list"
	-o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$state/lists" -o Dir::State::status=/dev/null
	-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
apt-get "${apt[@]}" -qq update

# The meta package names the kernel's version; newer ones keep image and modules in packages of their own.
needs() { apt-cache "${apt[@]}" depends "$1" | sed -nE 's/^ *Depends: (linux-(image|binary|modules|base)-[0-9][^ ]*)$/\1/p'; }
packages=$(needs "linux-image-$arch")
for p in $packages; do packages+=$'\n'$(needs "$p"); done
mapfile -t packages < <(sort -u <<<"$packages" | grep .)
[ ${#packages[@]} -gt 0 ] || { echo "kernel.sh: $suite has no linux-image-$arch" >&2; exit 1; }
(cd "$state/deb" && apt-get "${apt[@]}" -qq download "${packages[@]}" busybox-static) # the package busybox has one that needs libraries
for deb in "$state"/deb/*.deb; do dpkg-deb -x "$deb" "$out"; done
touch "$out/complete"
