#!/usr/bin/env bash
# run.sh: the life of the Debian package in a booted Debian 12 container, with hubsim beside it on the container's own
# loopback: install, first configuration, telemetry, kill -9, watchdog, a mistake in the configuration, upgrade, disabled,
# remove, purge. Prints one line a check; ends with 1 when one failed. Needs root; installs what it needs with apt.
# BIN=DIR takes the binaries from DIR/linux-ARCH in place of a build. KEEP=1 leaves the container's folder for a look.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
top=$PWD
work=$top/.build/system
root=$work/root
conf=$root/etc/iotagent
events=$root/root/hub/events.jsonl
failed=0
nspawn=
leader=

say() { printf '%s\n' "$*"; }

# check NAME COMMAND...: one line, and the count of failures.
check() {
	local name=$1
	shift
	if "$@"; then say "ok   $name"; else
		say "FAIL $name"
		failed=$((failed + 1))
	fi
}

# need NAME COMMAND...: a check without which the rest means nothing.
need() {
	local before=$failed
	check "$@"
	[ "$failed" = "$before" ] || give_up
}

give_up() {
	say "--- the journal's last lines"
	in_box journalctl --no-pager -o cat -n 40 -u hubsim
	journal -n 60
	say "system test: given up, $failed failed"
	exit 1
}

# await SECONDS COMMAND...: true as soon as COMMAND is.
await() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# steady SECONDS COMMAND...: true when COMMAND stays true for so long.
steady() {
	local end=$((SECONDS + $1))
	shift
	while "$@"; do
		[ $SECONDS -lt $end ] || return 0
		sleep 0.2
	done
	return 1
}

not() { ! "$@"; }
in_box() { timeout 60 nsenter -t "$leader" -a "$@"; }
# signal NAME PID: never to a group, which is what kill does with 0.
signal() { [ "${2:-0}" -gt 1 ] && in_box sh -c "kill -$1 $2"; }
quiet() { "$@" >/dev/null 2>&1; }
is() { [ "$1" = "$2" ]; }
property() { in_box systemctl show -p "$1" --value "${2:-iotagent}"; }
main_pid() { property MainPID; }
state() { in_box systemctl is-active "${1:-iotagent}" 2>/dev/null; }
has_state() { is "$(state "$2")" "$1"; }
enabled() { is "$(in_box systemctl is-enabled "$2" 2>/dev/null)" "$1"; }
journal() { in_box journalctl -u iotagent --no-pager -o cat "$@"; }
journal_has() { journal | grep -e "$1" >/dev/null; } # to the end: with -q the journal's early death would count
owner_mode() { in_box stat -c '%U:%G %a' "$1"; }
events_count() { if [ -e "$events" ]; then wc -l <"$events"; else echo 0; fi; }
events_over() { [ "$(events_count)" -gt "$1" ]; }
new_pid() { local p; p=$(main_pid) && [ "$p" != 0 ] && [ "$p" != "$1" ] && has_state active iotagent; }
starts() { in_box journalctl -u iotagent --no-pager -o cat _PID=1 | grep -c '^Started iotagent'; }

# gap_free: within one epoch and lane every sequence number arrived, none is missing in between.
gap_free() {
	grep -o '"message_id":"[^"]*"' "$events" | cut -d'"' -f4 | sort -u | awk -F- '
		{ k = $1 "-" $2; n[k]++; if (!(k in lo) || $3 < lo[k]) lo[k] = $3; if ($3 > hi[k]) hi[k] = $3 }
		END { for (k in n) { c++; if (hi[k] - lo[k] + 1 != n[k]) { print k ": " n[k] " of " lo[k] ".." hi[k]; bad = 1 } } exit bad || !c }'
}

stop_box() {
	if [ -n "$leader" ] && kill -0 "$leader" 2>/dev/null; then
		kill -s RTMIN+4 "$leader" # power off
		await 20 not kill -0 "$nspawn" 2>/dev/null || kill -9 "$leader" "$nspawn" 2>/dev/null
	elif [ -n "$nspawn" ]; then
		kill "$nspawn" 2>/dev/null
	fi
	[ -z "$nspawn" ] || wait "$nspawn" 2>/dev/null
	rmdir /sys/fs/cgroup/{systemd,unified}/{payload,supervisor} 2>/dev/null
	[ -n "${KEEP-}" ] || rm -rf "$root"
}

base() {
	local stamp
	stamp=$work/base/.complete
	[ -e "$stamp" ] && return
	say "building the Debian 12 root file system (about 20 s, once)"
	rm -rf "$work/base"
	mkdir -p "$work"
	mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,init-system-helpers \
		bookworm "$work/base" >"$work/mmdebstrap.log" 2>&1 || {
		cat "$work/mmdebstrap.log" >&2
		return 1
	}
	touch "$stamp"
}

packages() {
	local arch v1 v2
	arch=$(dpkg --print-architecture)
	v1=$(tools/version.sh --deb)
	v2=$v1+upgrade
	rm -rf "$work/debs"
	ARCHS=$arch QUICK=1 OUT=$work/debs DEB_VERSION=$v1 packaging/deb/build.sh &&
		ARCHS=$arch QUICK=1 OUT=$work/debs DEB_VERSION=$v2 BIN=${BIN:-$top/dist} packaging/deb/build.sh || return 1
	old=$work/debs/iotagent_${v1}_$arch.deb
	new=$work/debs/iotagent_${v2}_$arch.deb
	tools=$work/debs/iotagent-tools_${v1}_$arch.deb
}

booted() {
	leader=$(pgrep -P "$nspawn" | sed -n 1p)
	[ -n "$leader" ] || return 1
	case $(in_box systemctl is-system-running 2>/dev/null) in running | degraded) ;; *) return 1 ;; esac
}

boot() {
	rm -rf "$root"
	cp -a --reflink=auto "$work/base" "$root"
	echo '127.0.0.1 localhost' >"$root/etc/hosts" # an installed Debian has it, the minimal one does not
	cp "$old" "$root/root/old.deb"
	cp "$new" "$root/root/new.deb"
	cp "$tools" "$root/root/tools.deb"
	systemd-nspawn -q -D "$root" -M "iotagent-test-$$" --register=no --keep-unit --private-network \
		--console=read-only -b </dev/null >"$work/console.log" 2>&1 &
	nspawn=$!
	trap stop_box EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	await 60 booted || {
		say "the container does not boot:"
		tail -n 20 "$work/console.log"
		return 1
	}
}

configuration() {
	cat <<-'TOML'
		[hub]
		connection_string_file = "/etc/iotagent/connection-string"
		ca_file = "/etc/iotagent/ca.pem"
		transport = "amqps"

		[outbox]
		max_loss = "0s"

		[telemetry]
		flush_interval = "500ms"

		[[sensor]]
		name = "demo"
		type = "sim"
		interval = "250ms"

		[[sensor]]
		name = "gateway"
		type = "system"
		interval = "1s"

		[[command]]
		name = "lamp"
		type = "gpio"
		pin = "sim"
		safe = "low"

		[[command]]
		name = "touch"
		type = "exec"
		path = "/usr/bin/touch"
		args = ["/run/iotagent/touched"]

		[[command]]
		name = "trespass"
		type = "exec"
		path = "/usr/bin/touch"
		args = ["/usr/trespassed"]
	TOML
}

start_hub() {
	mkdir -p "$root/root/hub"
	quiet in_box systemctl reset-failed hubsim
	in_box systemd-run -q --unit=hubsim hubsim --state /root/hub --device pi-17 --events /root/hub/events.jsonl &&
		await 10 test -s "$root/root/hub/devices/pi-17.connection-string"
}

test_install() {
	local log=$work/install.log
	check "install" quiet in_box dpkg -i /root/tools.deb
	in_box dpkg -i /root/old.deb >"$log" 2>&1
	check "install without a configuration ends well" is "$?" 0
	check "next steps are printed" grep -q 'waits for its configuration' "$log"
	check "the service waits, it has not failed" has_state inactive iotagent
	check "nothing has failed" is "$(in_box systemctl --failed --no-legend)" ""
	check "the configuration is watched" has_state active iotagent.path
	check "service and path are enabled" eval 'enabled enabled iotagent.service && enabled enabled iotagent.path'
	check "/etc/iotagent is 0750 root:iotagent" is "$(owner_mode /etc/iotagent)" "root:iotagent 750"
	check "the account is in the groups of the buses" is \
		"$(in_box id -nG iotagent | tr ' ' '\n' | sort | tr '\n' ' ')" "dialout gpio i2c iotagent spi "
	check "systemd-analyze verify has nothing to say" is \
		"$(in_box systemd-analyze --man=no verify iotagent.service iotagent.path 2>&1)" ""
	check "systemd-analyze security: exposure 2.5 or less" quiet in_box systemd-analyze security --no-pager --threshold=25 iotagent
	say "     $(in_box systemd-analyze security --no-pager iotagent | grep 'Overall exposure')"
}

test_first_configuration() {
	need "hubsim starts" start_hub
	install -m 0644 "$root/root/hub/ca.pem" "$conf/ca.pem"
	in_box install -m 0640 -o root -g iotagent /root/hub/devices/pi-17.connection-string /etc/iotagent/connection-string
	check "the example configuration passes check" \
		quiet in_box iotagent --config /usr/share/doc/iotagent/examples/iotagent.toml check
	configuration >"$conf/iotagent.toml"
	need "the daemon starts when the configuration appears" await 10 has_state active iotagent
	need "telemetry reaches the hub" await 15 events_over 3
}

test_running() {
	local pid
	pid=$(main_pid)
	check "runs as its own user" is "$(in_box stat -c %U "/proc/$pid")" iotagent
	check "state directory is 0750 iotagent" is "$(owner_mode /var/lib/iotagent)" "iotagent:iotagent 750"
	check "no new privileges, system calls filtered" is \
		"$(in_box grep -E '^(NoNewPrivs|Seccomp):' "/proc/$pid/status" | tr -s '\t\n' '  ')" "NoNewPrivs: 1 Seccomp: 2 "
	check "no capabilities" is "$(in_box grep CapEff "/proc/$pid/status" | cut -f2)" 0000000000000000
	check "sees /usr and /etc read-only" not quiet in_box nsenter -t "$pid" -m touch /usr/x /etc/iotagent/x
	check "status answers" quiet in_box iotagent status
}

send_command() {
	quiet in_box hubctl --connection-string-file /root/hub/service.connection-string --ca /root/hub/ca.pem send pi-17 "$@"
}

touched() { is "$(in_box stat -c %U /run/iotagent/touched 2>/dev/null)" iotagent; }
trespass_reported() { journal | grep trespass | grep -iE 'read-only|permission|fail|reject|refus' >/dev/null; }

test_commands() {
	check "command: sent" send_command --command lamp --body '{"level":"high"}'
	check "command: the output is switched" await 10 journal_has 'output set.*lamp.*high'
	check "command: a program is asked for" send_command --command touch
	check "command: it runs, as the agent's user" await 10 touched
	check "command: one that leaves the walls is sent" send_command --command trespass
	check "command: it fails" await 10 trespass_reported
	check "command: and changes nothing" not quiet in_box test -e /usr/trespassed
}

test_kill() {
	local pid n
	pid=$(main_pid)
	signal KILL "$pid"
	need "kill -9: started again" await 10 new_pid "$pid"
	n=$(events_count)
	check "kill -9: telemetry goes on" await 15 events_over $((n + 3))
	check "kill -9: no hole in any epoch" gap_free
}

test_watchdog() {
	local pid
	in_box sh -c 'mkdir -p /run/systemd/system/iotagent.service.d &&
		printf "[Service]\nWatchdogSec=2\nRestartSec=200ms\n" >/run/systemd/system/iotagent.service.d/test.conf &&
		systemctl daemon-reload && systemctl restart iotagent'
	need "watchdog: running with a short one" await 10 has_state active iotagent
	pid=$(main_pid)
	check "watchdog: fed while the loops run" steady 4 is_pid "$pid"
	signal STOP "$pid"
	check "watchdog: a stopped process is replaced" await 15 new_pid "$pid"
	check "watchdog: the journal says so" journal_has 'Watchdog timeout'
	in_box sh -c 'rm -r /run/systemd/system/iotagent.service.d && systemctl daemon-reload && systemctl restart iotagent'
}

is_pid() { is "$(main_pid)" "$1"; }

test_mistake() {
	sed -i '0,/^interval/s//intervall/' "$conf/iotagent.toml"
	quiet in_box systemctl restart iotagent
	check "mistake: the service fails" await 10 has_state failed iotagent
	check "mistake: exit status 78" is "$(property ExecMainStatus)" 78
	check "mistake: it is not started again" steady 4 has_state failed iotagent
	check "mistake: the journal names the place" journal_has 'iotagent.toml:[0-9]*:[0-9]*:.*intervall'
	configuration >"$conf/iotagent.toml"
	check "mistake: the mended file starts it" await 10 has_state active iotagent
}

test_stop() {
	quiet in_box systemctl stop iotagent
	check "stop: ends well" is "$(property Result)" success
	configuration >"$conf/iotagent.toml"
	check "stop: saving the configuration does not start it" steady 2 has_state inactive iotagent
	in_box systemctl start iotagent
	check "start: the configuration is watched again" has_state active iotagent.path
}

test_credential() {
	local n
	in_box sh -c 'mkdir -p /run/systemd/system/iotagent.service.d && mv /etc/iotagent/connection-string /root/kept &&
		printf "[Service]\nLoadCredential=connection-string:/root/kept\n" >/run/systemd/system/iotagent.service.d/test.conf &&
		sed -i "s|/etc/iotagent/connection-string|connection-string|" /etc/iotagent/iotagent.toml && systemctl daemon-reload'
	n=$(events_count)
	quiet in_box systemctl restart iotagent
	check "credential: the connection string may come from the service manager" await 10 events_over $((n + 3))
	in_box sh -c 'rm -r /run/systemd/system/iotagent.service.d && mv /root/kept /etc/iotagent/connection-string && systemctl daemon-reload'
	configuration >"$conf/iotagent.toml"
	quiet in_box systemctl restart iotagent
	await 10 has_state active iotagent
}

# no_secret: the device's key is nowhere in the journal.
no_secret() {
	local key
	key=$(sed -n 's/.*SharedAccessKey=\([^;]*\).*/\1/p' "$conf/connection-string")
	[ ${#key} -gt 20 ] && ! in_box journalctl --no-pager -o cat | grep -F "$key" >/dev/null
}

# what upgrades must leave alone
kept() {
	in_box sh -c 'cd /etc/iotagent && stat -c "%n %U:%G %a %Y" . * conf.d/* && sha256sum *.toml connection-string conf.d/* &&
		stat -c "%n %U:%G %a" /var/lib/iotagent'
}

test_upgrade() {
	local before n pid log=$work/upgrade.log
	in_box sh -c 'mkdir /etc/iotagent/conf.d && chmod 0700 /etc/iotagent/conf.d && chgrp iotagent /etc/iotagent/conf.d &&
		chmod g+rx /etc/iotagent/conf.d && echo "# local" >/etc/iotagent/conf.d/site.toml && chmod 0640 /etc/iotagent/conf.d/site.toml &&
		chgrp iotagent /etc/iotagent/conf.d/site.toml'
	in_box systemctl stop hubsim
	check "hub away: a message is queued" quiet in_box iotagent send --body before-the-upgrade
	before=$(kept) n=$(starts) pid=$(main_pid)
	in_box dpkg -i /root/new.deb >"$log" 2>&1
	check "upgrade ends well" is "$?" 0
	check "upgrade: running the new process" await 10 new_pid "$pid"
	check "upgrade: restarted once" is "$(starts)" $((n + 1))
	check "upgrade: next steps are not printed again" not grep -q 'waits for its configuration' "$log"
	check "upgrade: configuration, owners and modes kept" is "$(kept)" "$before"
	start_hub
	check "upgrade: the queued message arrives" await 20 grep -q 'before-the-upgrade' "$events"
}

test_disabled() {
	quiet in_box systemctl disable --now iotagent
	quiet in_box dpkg -i /root/new.deb
	check "disabled stays disabled over an upgrade" eval 'enabled disabled iotagent.service && enabled disabled iotagent.path'
	check "disabled: not running" eval 'has_state inactive iotagent && has_state inactive iotagent.path'
	quiet in_box systemctl enable --now iotagent
	check "enabled again: running" await 10 has_state active iotagent
}

leftovers() {
	in_box find / -xdev \( -path /proc -o -path /sys \) -prune -o -name '*iotagent*' -print
	in_box getent passwd iotagent
	in_box getent group iotagent
}

test_removal() {
	quiet in_box dpkg -r iotagent
	check "remove: stopped" not has_state active iotagent
	check "remove: queue and configuration kept" quiet in_box sh -c 'ls /var/lib/iotagent/outbox/* /etc/iotagent/iotagent.toml'
	in_box systemctl stop hubsim
	quiet in_box dpkg -P iotagent iotagent-tools
	check "purge leaves nothing" is "$(leftovers)" ""
	leftovers | sed 's/^/     left: /'
}

if [ "$(id -u)" != 0 ]; then
	say "the system test boots a container and needs root" >&2
	exit 1
fi
tools/apt.sh mmdebstrap systemd-container zstd procps debhelper dpkg-dev lintian fakeroot || exit 1
base && packages && boot || exit 1
began=$SECONDS
for t in install first_configuration running commands kill watchdog mistake stop credential upgrade disabled; do
	"test_$t"
done
check "the device's key is not in the journal" no_secret
[ "$failed" = 0 ] || journal -n 80 | sed 's/^/     | /'
test_removal
say "system test: $failed failed, $((SECONDS - began)) s"
[ "$failed" = 0 ]
