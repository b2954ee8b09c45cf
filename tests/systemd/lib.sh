# What the tests of the unit use. Sourced by run.sh; a test runs in a subshell of its own and ends
# it with fail.
# shellcheck shell=bash

SECONDS_TO_WAIT=20
CONFIG=/etc/usher/usher.yaml
DROPIN=/run/systemd/system/usher.service.d/test.conf
PORT=7 # below 1024 on purpose

fail() {
	echo "$*" >&2
	exit 1
}

# equal WHAT EXPECTED ACTUAL
equal() {
	[ "$2" = "$3" ] || fail "$1: expected \"$2\", got \"$3\""
}

# Tries a command again and again until it succeeds, for a state that no event tells of.
soon() {
	local deadline=$((SECONDS + SECONDS_TO_WAIT))

	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || fail "not within $SECONDS_TO_WAIT s: $*"
		read -rt 0.05 <>"$NEVER" || true
	done
}

# configure [DRAIN_TIMEOUT]: two workers, and the listeners on standard input.
configure() {
	{
		echo "workers: 2"
		echo "user: usher"
		echo "drain_timeout: ${1:-2s}"
		echo "listeners:"
		cat
	} >"$CONFIG"
}

configure_echo() {
	configure "$@" <<-EOF
		  - {name: echo, host: 127.0.0.1, port: $PORT, handler: echo}
		  - {name: file, path: /run/usher/echo.sock, mode: "0660", handler: echo}
	EOF
}

# A drop-in for the unit, from standard input.
drop_in() {
	mkdir -p "${DROPIN%/*}"
	cat >"$DROPIN"
	systemctl daemon-reload
}

start() {
	timeout "$SECONDS_TO_WAIT" systemctl start usher.service ||
		fail "usher.service does not start"
}

# A property of the unit.
property() {
	systemctl show -P "$1" usher.service
}

property_is() {
	[ "$(property "$1")" = "$2" ]
}

property_is_not() {
	! property_is "$1" "$2"
}

# What the unit's present run has logged, of a level (err, warning, ... debug) and worse.
log() {
	journalctl -q -o cat -p "$1" "_SYSTEMD_INVOCATION_ID=$(property InvocationID)"
}

# log_says LEVEL PATTERN
log_says() {
	log "$1" | grep -q -- "$2"
}

# What systemd and all runs of the unit have logged during this test.
whole_log() {
	journalctl -q -o cat --since "@$BEGAN" -u usher.service -u usher.socket
}

whole_log_says() {
	whole_log | grep -q -- "$1"
}

# The pids of the workers that are ready.
workers() {
	usherctl status | awk '$1 ~ /^[0-9]+$/ && $4 == "ready" { print $3 }'
}

ready_workers_are() {
	[ "$(workers | wc -l)" -eq "$1" ]
}

processes() {
	cat "/sys/fs/cgroup$1/cgroup.procs" "/sys/fs/cgroup/unified$1/cgroup.procs" 2>/dev/null
}

is_gone() {
	[ ! -e "/proc/$1" ]
}

# A line of /proc/PID/status.
status_of() {
	awk -v name="$2:" '$1 == name { print $2 }' "/proc/$1/status"
}

# Sends a text to the listener and expects it back.
echoes() {
	[ "$(printf '%s' "hello $1" | timeout "$SECONDS_TO_WAIT" nc -N 127.0.0.1 "$1")" = "hello $1" ]
}

clean_up() {
	systemctl stop usher.socket usher.service 2>/dev/null
	rm -rf "${DROPIN%/*}"
	systemctl daemon-reload
	systemctl reset-failed usher.service usher.socket 2>/dev/null
}
