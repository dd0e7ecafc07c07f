#!/usr/bin/env bash
# root.sh [--refresh] ROOT MODULE...: makes the folder ROOT for an initramfs: busybox, and the modules named with what they
# need, in the order of ROOT/modules/order. The kernel is Debian's newest (kernel.sh) for VM_ARCH (amd64), kept in .build/vm; --refresh
# looks for a newer one. Prints the path of the kernel. Missing packages are installed with apt by root.
set -euo pipefail
cd "$(dirname "$0")/../.."
vm=$PWD/.build/vm
arch=${VM_ARCH:-amd64}
store=$vm/kernel
[ "$arch" = amd64 ] || store+=-$arch

fail() {
	echo "root.sh: $*" >&2
	exit 1
}

if [ "${1-}" = --refresh ]; then
	rm -rf "$store"
	shift
fi
[ $# -ge 2 ] || fail "usage: root.sh [--refresh] ROOT MODULE..."
root=$1
shift
PATH=$PATH:/usr/sbin:/sbin
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
case $arch in
amd64) need qemu-system-x86_64 qemu-system-x86 ;;
arm64) need qemu-system-aarch64 qemu-system-arm ;;
*) fail "VM_ARCH=$arch: want amd64 or arm64" ;;
esac
need modprobe kmod
need cpio cpio
need xz xz-utils
need zstd zstd
[ ${#missing[@]} = 0 ] || tools/apt.sh "${missing[@]}" >&2 || fail "needs the packages ${missing[*]}"
mkdir -p "$vm"

echo "kernel: Debian's newest for $arch, kept in ${store#"$PWD/"}" >&2
test/vm/kernel.sh "$store" "$arch" >&2 || fail "no kernel: see above; it needs apt and a Debian mirror"
modules=$(find "$store" -type d -path '*lib/modules/*' -prune | sed -n 1p)
[ -n "$modules" ] || fail "the kernel package holds no modules; try --refresh"
version=$(basename "$modules")
base=${modules%/lib/modules/*}
kernel=$(find "$store" \( -name "vmlinuz-$version" -o -path "*/modules/$version/vmlinuz" \) | sed -n 1p)
[ -n "$kernel" ] || fail "the kernel package holds no vmlinuz; try --refresh"
[ -e "$modules/modules.dep" ] || depmod -b "$base" "$version"

rm -rf "$root"
mkdir -p "$root"/{bin,modules,proc,sys,dev,tmp,etc}
cp "$store/usr/bin/busybox" "$root/bin/busybox"
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
