#!/usr/bin/env bash
# run.sh: the tests of outbox, its files and config as ARMv6 and arm64 programs under qemu-user. It shows what only those machines
# have: 32-bit sizes on ARM, unaligned access, mmap of bbolt files. Installs qemu-user-static with apt when it may.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v qemu-arm-static qemu-aarch64-static >/dev/null; then tools/apt.sh qemu-user-static; fi
# qemu-user runs one program; a test that starts itself again as a child cannot work there.
skip='^Test(Kill|DamageEverywhere|UpgradeDamaged|EveryOpenFails|Churn|MinFree|QuotaOverRestarts|ReadAhead)$'
echo "not run here: TestKill, which starts its own binary, TestReadAhead (qemu passes no advice on maps to the kernel), and what shows nothing new on another machine and takes minutes: $skip"
out=$PWD/.build/qemu
mkdir -p "$out"

# run ARCH PACKAGE EMULATOR...: the test binary of PACKAGE, in the package's own folder as `go test` would.
run() {
	local arch=$1 pkg=$2 bin goarch=$1 began=$SECONDS
	shift 2
	bin=$out/${pkg//\//-}-$arch.test
	[ "$arch" != armv6 ] || goarch=arm
	CGO_ENABLED=0 GOARCH=$goarch GOARM=6 go test -c -o "$bin" "./$pkg"
	echo "$arch $pkg"
	(cd "$pkg" && "$@" "$bin" -test.short -test.skip="$skip" -test.shuffle=on -test.timeout=5m)
	echo "ok   $arch $pkg, $((SECONDS - began)) s"
}

for pkg in outbox/internal/boltfile outbox/internal/segment outbox config; do
	run armv6 "$pkg" qemu-arm-static -cpu arm1176
	run arm64 "$pkg" qemu-aarch64-static
done
