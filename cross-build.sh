#!/usr/bin/env bash
# cross-build.sh: iotagent, hubctl and hubsim for linux amd64, arm64, armv7 and armv6 into dist/linux-ARCH, static and
# stripped. Then iotagent for armv6 once more, from an empty build cache and a copy of the tree in another folder: the two
# files must be the same byte for byte. Ends with 1 when iotagent is over its budget of 15 MB on any of them.
# --quick leaves the second build out.
set -euo pipefail
cd "$(dirname "$0")"

version=${VERSION:-$(tools/version.sh)}
budget=15000000
again=armv6
dist=$PWD/dist
quick=${1-}

# build ARCH OUT PROGRAM...: what every release is built with; nothing of this machine's folders or clock gets in.
build() {
	local arch=$1 out=$2 goarch=$1 goarm=
	shift 2
	case $arch in
	armv[67]) goarch=arm goarm=${arch#armv} ;;
	esac
	mkdir -p "$out"
	CGO_ENABLED=0 GOOS=linux GOARCH=$goarch GOARM=$goarm GOFLAGS=-mod=readonly \
		go build -trimpath -buildvcs=false -ldflags "-s -w -X iotagent/internal/version.Version=$version" \
		-o "$out/" "${@/#/./cmd/}"
}

echo "version $version, $(go env GOVERSION)"
fail=0
for arch in amd64 arm64 armv7 armv6; do
	build "$arch" "$dist/linux-$arch" iotagent hubctl hubsim
	for program in iotagent hubctl hubsim; do
		f=$dist/linux-$arch/$program
		size=$(stat -c %s "$f")
		note=
		if [ "$program" = iotagent ]; then
			note="of $budget"
			[ "$size" -le "$budget" ] || { note="OVER the budget of $budget" fail=1; }
		fi
		printf '%-6s %-8s %9d bytes %s\n' "$arch" "$program" "$size" "$note"
		# A static file has no interpreter, a stripped one no symbol table.
		if command -v readelf >/dev/null; then
			if readelf -lW "$f" | grep INTERP >/dev/null; then echo "$f is not static" >&2 && fail=1; fi
			if readelf -SW "$f" | grep '\.symtab' >/dev/null; then echo "$f is not stripped" >&2 && fail=1; fi
		fi
	done
done

(cd "$dist" && sha256sum linux-*/* >SHA256SUMS)
[ "$quick" != --quick ] || exit "$fail"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/tree"
tar -c --exclude=./.git --exclude=./.build --exclude=./.demo --exclude=./dist . | tar -x -C "$scratch/tree"
(
	cd "$scratch/tree"
	export GOCACHE=$scratch/cache
	build "$again" "$scratch/out" iotagent
)
if cmp "$scratch/out/iotagent" "$dist/linux-$again/iotagent"; then
	echo "reproducible: iotagent $again is the same from an empty cache in another folder"
else
	echo "iotagent $again differs when it is built in another folder" >&2
	fail=1
fi
exit "$fail"
