#!/usr/bin/env bash
# root.sh [--refresh] ROOT MODULE...: makes the folder ROOT for an initramfs: busybox, and the modules named with what they
# need, in the order of ROOT/modules/order. The kernel is Debian's newest (kernel.sh), kept in .build/vm; --refresh looks for a
# newer one. Prints the path of the kernel. Missing packages are installed with apt by root.
set -euo pipefail
cd "$(dirname "$0")/../.."
vm=$PWD/.build/vm

fail() {
	echo "root.sh: $*" >&2
	exit 1
}

if [ "${1-}" = --refresh ]; then
	rm -rf "$vm/kernel"
	shift
fi
[ $# -ge 2 ] || fail "usage: root.sh [--refresh] ROOT MODULE..."
root=$1
shift
PATH=$PATH:/usr/sbin:/sbin
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need qemu-system-x86_64 qemu-system-x86
need busybox busybox-static
need modprobe kmod
need cpio cpio
need xz xz-utils
need zstd zstd
[ ${#missing[@]} = 0 ] || tools/apt.sh "${missing[@]}" >&2 || fail "needs the packages ${missing[*]}"
# Only a static busybox runs in a machine without libraries; the package busybox has a dynamic one of the same name.
grep -q ld-linux "$(command -v busybox)" && { tools/apt.sh busybox-static >&2 || fail "needs the package busybox-static"; }
mkdir -p "$vm"

echo "kernel: Debian's newest, kept in .build/vm/kernel" >&2
test/vm/kernel.sh "$vm/kernel" >&2 || fail "no kernel: see above; it needs apt and a Debian mirror"
modules=$(find "$vm/kernel" -type d -path '*lib/modules/*' -prune | head -n 1)
[ -n "$modules" ] || fail "the kernel package holds no modules; try --refresh"
version=$(basename "$modules")
base=${modules%/lib/modules/*}
kernel=$(find "$vm/kernel" \( -name "vmlinuz-$version" -o -path "*/modules/$version/vmlinuz" \) | head -n 1)
[ -n "$kernel" ] || fail "the kernel package holds no vmlinuz; try --refresh"
[ -e "$modules/modules.dep" ] || depmod -b "$base" "$version"

rm -rf "$root"
mkdir -p "$root"/{bin,modules,proc,sys,dev,tmp,etc}
cp "$(command -v busybox)" "$root/bin/busybox"
: >"$root/modules/order"
for module in "$@"; do
	modprobe -d "$base" -S "$version" --show-depends "$module" || fail "Linux $version has no $module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$root/modules/depends"
while read -r file; do
	name=$(basename "$file")
	case $file in
	*.xz) xz -dc "$file" >"$root/modules/${name%.xz}" ;;
	*.zst) zstd -qdc "$file" >"$root/modules/${name%.zst}" ;;
	*) cp "$file" "$root/modules/$name" ;;
	esac
	name=${name%.xz}
	echo "${name%.zst}" >>"$root/modules/order"
done <"$root/modules/depends"
rm "$root/modules/depends"
echo "$kernel"
