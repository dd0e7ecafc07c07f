#!/usr/bin/env bash
# gpio.sh [--refresh]: the gpio command handler against a real kernel's GPIO lines. A virtual machine (qemu, no KVM needed)
# boots Debian's newest kernel with nothing but busybox and the test program of c2d/gpiocmd, which makes a chip with
# gpio-sim and looks at its lines from outside. Prints one PASS or FAIL line at the end; exit status 0 only for PASS.
# What it downloads stays in .build/vm; --refresh looks for a newer kernel. Missing packages are installed with apt by root.
set -euo pipefail
cd "$(dirname "$0")/../.."
vm=$PWD/.build/vm
limit=${VM_TIMEOUT:-180} # seconds until the machine is given up

fail() {
	echo "FAIL gpio.sh: $*" >&2
	exit 1
}

case ${1-} in
"") ;;
--refresh) rm -rf "$vm/kernel" ;;
*) fail "usage: $0 [--refresh]" ;;
esac
PATH=$PATH:/usr/sbin:/sbin
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need qemu-system-x86_64 qemu-system-x86
need busybox busybox-static
need modprobe kmod
need cpio cpio
need xz xz-utils
need zstd zstd
[ ${#missing[@]} = 0 ] || tools/apt.sh "${missing[@]}" || fail "needs the packages ${missing[*]}"
# Only a static busybox runs in a machine without libraries; the package busybox has a dynamic one of the same name.
grep -q ld-linux "$(command -v busybox)" && { tools/apt.sh busybox-static || fail "needs the package busybox-static"; }
mkdir -p "$vm"

echo "kernel: Debian's newest with gpio-sim, kept in .build/vm/kernel"
test/vm/kernel.sh "$vm/kernel" || fail "no kernel: see above; it needs apt and a Debian mirror"
modules=$(find "$vm/kernel" -type d -path '*lib/modules/*' -prune | head -n 1)
[ -n "$modules" ] || fail "the kernel package holds no modules; try --refresh"
version=$(basename "$modules")
base=${modules%/lib/modules/*}
kernel=$(find "$vm/kernel" \( -name "vmlinuz-$version" -o -path "*/modules/$version/vmlinuz" \) | head -n 1)
[ -n "$kernel" ] || fail "the kernel package holds no vmlinuz; try --refresh"
depmod -b "$base" "$version"
modprobe -d "$base" -S "$version" --show-depends gpio-sim >"$vm/depends" 2>&1 ||
	fail "Linux $version has no gpio-sim: $(cat "$vm/depends")"

root=$vm/root
rm -rf "$root"
mkdir -p "$root"/{bin,modules,proc,sys,dev,tmp}
cp "$(command -v busybox)" "$root/bin/busybox"
awk '$1 == "insmod" { print $2 }' "$vm/depends" | while read -r file; do
	name=$(basename "$file")
	case $file in
	*.xz) xz -dc "$file" >"$root/modules/${name%.xz}" ;;
	*.zst) zstd -qdc "$file" >"$root/modules/${name%.zst}" ;;
	*) cp "$file" "$root/modules/$name" ;;
	esac
	name=${name%.xz}
	echo "${name%.zst}" >>"$root/modules/order"
done
CGO_ENABLED=0 GOARCH=amd64 go test -c -tags gpiosim -o "$root/gpio.test" ./c2d/gpiocmd
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
/gpio.test -test.v -test.run '^TestKernel' -test.timeout 2m
echo "vm-exit $?"
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$vm/initrd"

log=$vm/gpio.log
rm -f "$log"
status=0
timeout -k 5 "$limit" qemu-system-x86_64 -M q35 -cpu max -smp 2 -m 512 -nic none -accel tcg,thread=multi -display none -monitor none \
	-no-reboot -kernel "$kernel" -initrd "$vm/initrd" -serial "file:$log" \
	-append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off" </dev/null || status=$?
tr -d '\r' <"$log" | sed 's/^/  vm: /'
[ "$status" != 124 ] || fail "the machine did not end within $limit s"
[ "$status" = 0 ] || fail "qemu ended with $status"
# A test program that found no test to run would end with 0 too.
tr -d '\r' <"$log" | grep -q '^--- PASS: TestKernel' || fail "no test ran"
tr -d '\r' <"$log" | grep -qx 'vm-exit 0' || fail "the tests failed; the machine's log is .build/vm/gpio.log"
echo "PASS gpio.sh: outputs on Linux $version"
