#!/bin/busybox sh
# shellcheck shell=dash
# init.sh: the first program of powercut.sh's machine. The kernel's command line gives it PC_MODE, PC_BOOT and PC_NOSYNC.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mkdir -p /disk
ip link set lo up
while read -r m; do insmod "/modules/$m" || echo "insmod $m failed"; done </modules/order
exec 3<>/dev/vport0p1
if ! mount -t ext4 -o noatime /dev/vda /disk; then
	dmesg | tail -n 20
	echo "fail the disk cannot be mounted" >&3
	exec sleep 1000
fi
echo mounted >&3

export GOTRACEBACK=all
agent="iotagent --config /etc/iotagent.toml"

ms() { awk '{ print int($1 * 1000) }' /proc/uptime; }

# running prints the status of a daemon that runs, on one line.
running() {
	$agent status --json 2>/dev/null | tr -d '\n' | grep -v '"state": "stopped"' | grep '^{'
}

# The daemon opens what the cut left; what is listed is a copy.
look() {
	cp -a /disk/state/outbox /tmp/outbox 2>/dev/null
	guest list /tmp/outbox
	rm -rf /tmp/outbox
}

daemon() {
	mkdir -p /disk/state
	guest vouch
	began=$(ms)
	$agent run &
	until s=$(running); do :; done
	echo "ready $(($(ms) - began))" >&3
	echo "work 2000" >&3
	n=0
	while :; do
		guest lines "$PC_BOOT" "$n" 20 >/tmp/lines
		if $agent send --json --lines </tmp/lines >/tmp/ids; then
			echo "sent $PC_BOOT $n $(sed 's/.*:"//; s/".*//' /tmp/ids | tr '\n' ' ')" >&3
		else
			echo "fail iotagent send" >&3
		fi
		n=$((n + 20))
		s=$(running) && echo "status $s" >&3
	done
}

case $PC_MODE in
none) ;;
agent) look && daemon ;;
agent-look) look ;;
*) ${PC_NOSYNC:+guest nosync} /bin/guest work "$PC_MODE" "$PC_BOOT" ;;
esac
exec sleep 1000
