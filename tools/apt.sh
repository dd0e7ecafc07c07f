#!/usr/bin/env bash
# apt.sh PACKAGE...: installs what is missing of these Debian packages. The package lists are fetched once a day at most,
# and again when apt does not know a package.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
missing=()
for p in "$@"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "not root, so install these first: apt-get install ${missing[*]}" >&2
	exit 1
fi
[ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mtime -1 -print -quit 2>/dev/null)" ] || apt-get -qq update
install() { apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null; }
install || { apt-get -qq update && install; }
