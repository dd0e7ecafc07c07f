#!/bin/busybox sh
# shellcheck shell=dash
# init.sh: the first program of run.sh's machine.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
while read -r m; do insmod "/modules/$m" || echo "insmod $m failed"; done </modules/order
mount -t configfs configfs /sys/kernel/config
mount -t tracefs tracefs /sys/kernel/tracing
echo "Linux $(uname -r), up after $(cut -d' ' -f1 /proc/uptime) s"
cd /tmp || exit
set -o pipefail
export VM_LONG
for t in /tests/*; do
	"$t" -test.v -test.run '^TestKernel' -test.timeout 20m 2>&1 | tee "/tmp/${t##*/}.out"
	status=$?
	# A test program that finds no test to run ends with 0, too.
	grep -q '^--- PASS: TestKernel' "/tmp/${t##*/}.out" || status="no test ran, or none passed, $status"
	echo "vm-exit ${t##*/} $status"
done
dmesg | grep -i -E 'WARNING|BUG:|Oops|blocked for' && echo "see above: the kernel is not well"
echo "end after $(cut -d' ' -f1 /proc/uptime) s"
poweroff -f
