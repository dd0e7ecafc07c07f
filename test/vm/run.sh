#!/usr/bin/env bash
# run.sh [--refresh]: iotagent and test programs against a real kernel. A virtual machine (qemu, no KVM needed) boots Debian's newest
# kernel with nothing but busybox, iotagent, hubsim and the test programs below, one after the other: GPIO lines are those of gpio-sim,
# the I²C bus is an adapter with simulated chips (test/vm/simi2c), on a USB port that is simulated, too. VM_LONG=1 repeats what
# depends on chance many times; VM_ARCH=arm64 does it all on an emulated 64-bit ARM. Prints one PASS or FAIL line at the end; exit
# status 0 only for PASS. What it downloads stays in .build/vm; --refresh looks for a newer kernel. Missing packages are installed with
# apt by root.
set -euo pipefail
cd "$(dirname "$0")/../.."
long=${VM_LONG:+1}
limit=${VM_TIMEOUT:-$((600 + 1200 * ${long:-0}))} # seconds until the machine is given up

# Each line: name, build tags, package. What fails to find its simulated hardware fails.
tests="gpio gpiosim ./c2d/gpiocmd
gpioline gpiosim ./internal/gpioline
counter gpiosim ./sensors/counter
i2c vmguest ./test/vm"

fail() {
	echo "FAIL vm: $*" >&2
	exit 1
}

refresh=()
case ${1-} in
"") ;;
--refresh) refresh=(--refresh) ;;
*) fail "usage: $0 [--refresh]" ;;
esac
export VM_ARCH=${VM_ARCH:-amd64}
case $VM_ARCH in
amd64) qemu=(qemu-system-x86_64 -M q35 -cpu max) console=ttyS0 ;;
arm64) qemu=(qemu-system-aarch64 -M virt -cpu cortex-a53) console=ttyAMA0 ;;
*) fail "VM_ARCH=$VM_ARCH: want amd64 or arm64" ;;
esac
vm=$PWD/.build/vm/run-$VM_ARCH
root=$vm/root
modules=(gpio-sim vhci-hcd i2c-tiny-usb i2c-dev bmp280-i2c ds2482 w1_therm)
[ "$VM_ARCH" = amd64 ] || modules+=(gpio-pca953x) # Debian's amd64 kernel has no driver for it
kernel=$(test/vm/root.sh "${refresh[@]}" "$root" "${modules[@]}") || fail "no kernel with ${modules[*]}: see above"

export CGO_ENABLED=0 GOARCH=$VM_ARCH
go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$root/bin/" ./cmd/iotagent ./cmd/hubsim
mkdir "$root/tests"
while read -r name tags package; do
	go test -c -tags "$tags" -ldflags '-s -w' -o "$root/tests/$name" "$package"
done <<<"$tests"
echo "127.0.0.1 localhost" >"$root/etc/hosts"
cp test/vm/init.sh "$root/init"
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet) >"$vm/initrd"

log=$vm/vm.log
rm -f "$log"
status=0
timeout -k 5 "$limit" "${qemu[@]}" -smp 1 -m 1024 -nic none -accel tcg,thread=multi -display none -monitor none \
	-no-reboot -kernel "$kernel" -initrd "$vm/initrd" -serial "file:$log" \
	-append "console=$console quiet loglevel=3 panic=-1 mitigations=off VM_LONG=$long" </dev/null || status=$?
tr -d '\r' <"$log" | sed 's/^/  vm: /'
[ "$status" != 124 ] || fail "the machine did not end within $limit s"
[ "$status" = 0 ] || fail "qemu ended with $status"
# No pipe here ends in a command that stops reading early (grep -q, head): what writes to it would die of that, and the pipe would have failed.
said=$(tr -d '\r' <"$log")
while read -r name _; do
	grep -qx "vm-exit $name 0" <<<"$said" || fail "the tests of $name failed; the machine's log is ${log#"$PWD/"}"
done <<<"$tests"
echo "PASS vm: $(cut -d' ' -f1 <<<"$tests" | paste -sd' ') on $(grep -o '^Linux [^,]*' <<<"$said" | sed -n 1p)"
