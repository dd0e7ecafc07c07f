#!/usr/bin/env bash
# build.sh: the Debian packages iotagent and iotagent-tools for amd64, arm64 and armhf into dist, from the binaries of
# cross-build.sh (armhf holds the ARMv6 ones: Raspberry Pi OS runs on ARMv6 boards under that name). The amd64 packages
# are built twice and compared; lintian must find no error and no warning.
#   ARCHS="amd64"     only these        OUT=DIR     elsewhere than dist
#   DEB_VERSION=1.2   this version      BIN=DIR     binaries in DIR/linux-ARCH instead of a cross build
#   QUICK=1           only build: no second build, no lintian
set -euo pipefail
cd "$(dirname "$0")/../.."
top=$PWD
out=${OUT:-$top/dist}
build=$(tools/version.sh)
version=${DEB_VERSION:-$(tools/version.sh --deb)}
work=$top/.build/deb
read -ra archs <<<"${ARCHS:-amd64 arm64 armhf}"

missing=()
for need in dpkg-buildpackage:dpkg-dev dh:debhelper dh_installsysusers:debhelper lintian:lintian fakeroot:fakeroot; do
	command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		tools/apt.sh "${missing[@]}"
	else
		echo "make deb needs: apt-get install ${missing[*]}" >&2
		exit 1
	fi
fi

if [ -z "${BIN-}" ]; then
	VERSION=$build ./cross-build.sh --quick >/dev/null
	BIN=$top/dist
fi
if [ -z "${SOURCE_DATE_EPOCH-}" ]; then
	SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) ||
		SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l packaging/deb/debian/changelog -STimestamp)
fi
export SOURCE_DATE_EPOCH

# stage ARCH DIR: a source tree for dpkg-buildpackage in DIR.
stage() {
	local goarch=$1 dir=$2
	[ "$goarch" != armhf ] || goarch=armv6
	rm -rf "$dir"
	mkdir -p "$dir"
	cp -r packaging/deb/debian packaging/deb/man packaging/deb/examples packaging/systemd "$dir/"
	cp packaging/systemd/iotagent.{service,path} "$dir/debian/"
	cp -rL "$BIN/linux-$goarch" "$dir/bin"
	if [ "$version" != "$(dpkg-parsechangelog -l "$dir/debian/changelog" -SVersion)" ]; then
		{
			printf 'iotagent (%s) unstable; urgency=medium\n\n  * Build of %s.\n\n' "$version" "$build"
			printf ' -- iotagent developers <iotagent@example.com>  %s\n\n' "$(date -uR -d "@$SOURCE_DATE_EPOCH")"
			cat packaging/deb/debian/changelog
		} >"$dir/debian/changelog"
	fi
}

# pack ARCH DIR: the two packages of ARCH into the folder above DIR.
pack() {
	stage "$1" "$2"
	(cd "$2" && umask 022 && dpkg-buildpackage -b -us -uc -d --host-arch "$1") >"$2.log" 2>&1 || {
		cat "$2.log" >&2
		return 1
	}
}

mkdir -p "$out"
debs=()
for arch in "${archs[@]}"; do
	pack "$arch" "$work/$arch/src"
	for name in iotagent iotagent-tools; do
		deb=${name}_${version}_$arch.deb
		cp "$work/$arch/$deb" "$out/"
		debs+=("$out/$deb")
		printf '%s %d bytes\n' "$deb" "$(stat -c %s "$out/$deb")"
	done
done

[ -z "${QUICK-}" ] || exit 0

first=${archs[0]}
pack "$first" "$work/again/elsewhere"
for name in iotagent iotagent-tools; do
	cmp "$work/again/${name}_${version}_$first.deb" "$out/${name}_${version}_$first.deb"
done
echo "reproducible: the $first packages are the same from another folder"

lintian --allow-root --fail-on error,warning --tag-display-limit 0 "${debs[@]}"
echo "lintian: no errors, no warnings"
