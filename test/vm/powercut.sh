#!/usr/bin/env bash
# powercut.sh: power cuts. A virtual machine (qemu; KVM where it works) with a real kernel and an ext4 disk runs a program that
# works on the outbox, and the built iotagent; qemu is killed at random moments, the same disk booted again, and what had been
# confirmed is looked for. The machine's page cache is gone with it, so whatever was not fsynced is lost: a control for which
# fsync does nothing must lose. What this does not show is a disk that keeps writes in a cache of its own and lies about it.
# ROUNDS (50) is how many cuts, SEED repeats a run's choices. Exit status 0 only when nothing was lost.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$PWD/.build/vm/powercut
root=$dir/root
export ROUNDS=${ROUNDS:-50} SEED=${SEED-}

fail() {
	echo "FAIL powercut.sh: $*" >&2
	exit 1
}

PATH=$PATH:/usr/sbin:/sbin
command -v mke2fs >/dev/null || tools/apt.sh e2fsprogs || fail "needs the package e2fsprogs"
kernel=$(test/vm/root.sh "$root" virtio_blk ext4) || fail "no kernel: see above"
export CGO_ENABLED=0
GOARCH=amd64 go build -trimpath -ldflags '-s -w' -o "$root/bin/" ./test/vm/powercut/guest ./cmd/iotagent
cat >"$root/etc/iotagent.toml" <<'CONFIG'
[hub]
connection_string = "HostName=127.0.0.1;DeviceId=powercut;SharedAccessKey=cG93ZXJjdXQ="
[agent]
state_dir = "/disk/state"
[outbox]
max_bytes = "64MiB"
max_loss = "2s"
[telemetry]
flush_interval = "500ms"
[[sensor]]
name = "boiler"
type = "sim"
interval = "200ms"
CONFIG
chmod 600 "$root/etc/iotagent.toml"
cp test/vm/powercut/init.sh "$root/init"
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet) >"$dir/initrd"

export POWERCUT_KERNEL=$kernel POWERCUT_INITRD=$dir/initrd POWERCUT_DIR=$dir
go test -tags powercut -count=1 -v -timeout 90m -run '^TestPowerCuts$' ./test/vm/powercut || fail "see above; the disks and the console are in .build/vm/powercut"
echo "PASS powercut.sh"
