#!/usr/bin/env bash
# gpio.sh [--refresh]: GPIO outputs and inputs against a real kernel's lines. A virtual machine (qemu, no KVM needed) boots
# Debian's newest kernel with nothing but busybox and the test programs of the packages below, which make a chip with
# gpio-sim and look at its lines from outside. Prints one PASS or FAIL line at the end; exit status 0 only for PASS.
# What it downloads stays in .build/vm; --refresh looks for a newer kernel. Missing packages are installed with apt by root.
set -euo pipefail
cd "$(dirname "$0")/../.."
vm=$PWD/.build/vm
limit=${VM_TIMEOUT:-180} # seconds until the machine is given up
packages=(c2d/gpiocmd internal/gpioline sensors/counter)

fail() {
	echo "FAIL gpio.sh: $*" >&2
	exit 1
}

refresh=()
case ${1-} in
"") ;;
--refresh) refresh=(--refresh) ;;
*) fail "usage: $0 [--refresh]" ;;
esac
root=$vm/root
kernel=$(test/vm/root.sh "${refresh[@]}" "$root" gpio-sim) || fail "no kernel with gpio-sim: see above"
mkdir "$root/tests"
for p in "${packages[@]}"; do
	CGO_ENABLED=0 GOARCH=amd64 go test -c -tags gpiosim -o "$root/tests/$(basename "$p")" "./$p"
done
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
while read -r m; do insmod "/modules/$m" || echo "insmod $m failed"; done </modules/order
mount -t configfs configfs /sys/kernel/config
mount -t tracefs tracefs /sys/kernel/tracing
echo "Linux $(uname -r), up after $(cut -d' ' -f1 /proc/uptime) s"
cd /tmp
for t in /tests/*; do
	"$t" -test.v -test.run '^TestKernel' -test.timeout 2m
	echo "vm-exit $? $t"
done
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$vm/initrd"

log=$vm/gpio.log
rm -f "$log"
status=0
timeout -k 5 "$limit" qemu-system-x86_64 -M q35 -cpu max -smp 1 -m 512 -nic none -accel tcg,thread=multi -display none -monitor none \
	-no-reboot -kernel "$kernel" -initrd "$vm/initrd" -serial "file:$log" \
	-append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off" </dev/null || status=$?
tr -d '\r' <"$log" | sed 's/^/  vm: /'
[ "$status" != 124 ] || fail "the machine did not end within $limit s"
[ "$status" = 0 ] || fail "qemu ended with $status"
for p in "${packages[@]}"; do
	tr -d '\r' <"$log" | grep -qx "vm-exit 0 /tests/$(basename "$p")" || fail "the tests of $p failed; the machine's log is .build/vm/gpio.log"
	# A test program that found no test to run would end with 0 too.
	"$root/tests/$(basename "$p")" -test.list '^TestKernel' | while read -r t; do
		tr -d '\r' <"$log" | grep -q "^--- PASS: $t " || fail "$t of $p did not run"
	done
done
echo "PASS gpio.sh: outputs and inputs on $(tr -d '\r' <"$log" | grep -o '^Linux [^,]*')"
