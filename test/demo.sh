#!/usr/bin/env bash
# The whole path on this machine: a hub, the agent with this machine's own readings, telemetry, a command and its feedback. Ends with
# Ctrl-C, or by itself after DURATION (20s, 2m); then the exit status is 0 only if telemetry arrived, the command took effect and its
# feedback said Success. Everything lies in .demo. `make demo` builds and calls this.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.build/bin
demo=$PWD/.demo
hub=$demo/hub
duration=${DURATION:-}

say() { printf '\n== %s\n' "$*"; }
die() {
	printf 'demo: %s\n' "$*" >&2
	for log in hubsim iotagent feedback.err events.err; do
		[ -s "$demo/$log.log" ] && { echo "--- last lines of .demo/$log.log" >&2; tail -n 15 "$demo/$log.log" >&2; }
	done
	exit 1
}

pids=()
stop_all() {
	trap - EXIT INT TERM
	local i
	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		kill -TERM "${pids[i]}" 2>/dev/null || continue
		wait "${pids[i]}" 2>/dev/null || true
	done
}
trap stop_all EXIT
trap 'say "stopping"; exit 0' INT TERM

# seconds turns 20s, 2m, 1h or 20 into seconds.
seconds() {
	case $1 in
	*h) echo $((${1%h} * 3600)) ;;
	*m) echo $((${1%m} * 60)) ;;
	*s) echo "${1%s}" ;;
	*) echo "$1" ;;
	esac
}

# await SECONDS WHAT COMMAND... tries the command until it succeeds.
await() {
	local tries=$(($1 * 5)) what=$2
	shift 2
	until "$@"; do
		((tries-- > 0)) || die "waited in vain for $what"
		sleep 0.2
	done
}

rm -rf "$demo"
mkdir -p "$demo"

say "starting a local IoT Hub (hubsim) with a fresh CA and the device pi-17"
"$bin/hubsim" --listen 127.0.0.1:0 --https 127.0.0.1:0 --state "$hub" --device pi-17 --events "$demo/events.jsonl" --ready-file "$demo/ready" \
	>"$demo/hubsim.log" 2>&1 &
pids+=($!)
await 20 "the hub" test -s "$demo/ready"
head -n 1 "$demo/hubsim.log"
https() { sed -n 's/^  https *127\.0\.0\.1://p' "$demo/hubsim.log"; }
serves_https() { [ -n "$(https)" ]; }
await 20 "the hub's HTTPS port" serves_https
export HUBCTL_CONNECTION_STRING_FILE=$hub/service.connection-string HUBCTL_CA=$hub/ca.pem

cat >"$demo/iotagent.toml" <<EOF
[hub]
connection_string_file = "$hub/devices/pi-17.connection-string"
ca_file = "$hub/ca.pem"
websocket_port = $(https)   # 443 at a real hub: the way out where 5671 is blocked, and the hub's time where this machine's clock is not synchronised

[agent]
state_dir = "$demo/state"

[telemetry]
flush_interval = "2s"

[[sensor]]              # what this machine measures of itself
name = "machine"
type = "system"
interval = "2s"

[[sensor]]              # a simulated chip
name = "boiler"
type = "sim"
interval = "1s"

[[command]]             # a simulated output; on a gateway say pin = "GPIO17"
name = "lamp"
type = "gpio"
pin = "sim"
safe = "low"
EOF

say "iotagent check"
"$bin/iotagent" --config "$demo/iotagent.toml" check || die "the configuration is not right"

say "iotagent read"
"$bin/iotagent" --config "$demo/iotagent.toml" read || die "a sensor could not be read"

say "iotagent run (its log: .demo/iotagent.log); telemetry as the hub accepts it:"
"$bin/hubctl" events --from earliest 2>"$demo/events.err.log" &
pids+=($!)
"$bin/hubctl" feedback --json >"$demo/feedback.jsonl" 2>"$demo/feedback.err.log" &
pids+=($!)
await 20 "hubctl feedback" grep -q watching "$demo/feedback.err.log"
"$bin/iotagent" --config "$demo/iotagent.toml" run >"$demo/iotagent.log" 2>&1 &
agent=$!
pids+=("$agent")
started=$SECONDS
await 30 "telemetry at the hub" grep -q '"message_id"' "$demo/events.jsonl"

say "hubctl send pi-17 --command lamp --body '{\"level\":\"high\"}' --ack full"
id=$("$bin/hubctl" send pi-17 --command lamp --body '{"level":"high"}' --ack full) || die "the command was not sent"
echo "$id"
lamp_is() { "$bin/iotagent" --config "$demo/iotagent.toml" status --json | grep "\"level\": \"$1\"" >/dev/null; }
await 20 "the lamp" lamp_is high
echo "the lamp is on:"
"$bin/iotagent" --config "$demo/iotagent.toml" status | grep -E '^(link|clock|outbox|command)'
succeeded() { grep -F "\"$id\"" "$demo/feedback.jsonl" | grep '"statusCode":"Success"' >/dev/null; }
await 30 "the feedback" succeeded
say "feedback: $(grep -F "\"$id\"" "$demo/feedback.jsonl")"

if [ -z "$duration" ]; then
	say "telemetry goes on until Ctrl-C"
	wait "$agent" || die "iotagent ended by itself"
fi
left=$(($(seconds "$duration") - (SECONDS - started)))
((left <= 0)) || sleep "$left"
kill -0 "$agent" 2>/dev/null || die "iotagent ended by itself"
stop_all
say "done: $(wc -l <"$demo/events.jsonl") messages, the command took effect, its feedback said Success"
