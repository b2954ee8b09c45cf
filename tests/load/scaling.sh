#!/bin/sh
# Measures what usher costs as it grows: each connection, message and listing while connections,
# workers and listeners become many. Nothing may grow worse than linearly, and in the modes where
# workers accept the supervisor may not grow with connections at all.
#
#   tests/load/scaling.sh BUILD
#
# SCALING_ROUNDS (3): all is measured once, the fewest and the most of each in every round.
# SCALING_SECONDS (1) for each sample, SCALING_MODES, SCALING_CONNECTIONS, SCALING_WORKERS,
# SCALING_LISTENERS: lists of what to measure.
set -u

# A whole run has these.
modes='shared reuse-port round-robin'
connections='10 100 1000 5000 15000'
workers='1 2 4 8 16 32 64'
listeners='1 10 100 500'

SCALING_ROUNDS=${SCALING_ROUNDS:-3}
SCALING_SECONDS=${SCALING_SECONDS:-1}
SCALING_MODES=${SCALING_MODES:-$modes}
SCALING_CONNECTIONS=${SCALING_CONNECTIONS:-$connections}
SCALING_WORKERS=${SCALING_WORKERS:-$workers}
SCALING_LISTENERS=${SCALING_LISTENERS:-$listeners}

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd) || exit 66
out=$build/scaling
load=$build/usher-load
PATH=$PATH:/usr/sbin
export PATH

# shellcheck source=tests/load/settings.sh
. "$here/settings.sh"
# Of many more, usherd or usher-load say themselves that they cannot.
need_whole SCALING_ROUNDS 1 1000
need_number SCALING_SECONDS 0.01 10
need_words SCALING_MODES shared reuse-port round-robin least-connections source-hash
need_wholes SCALING_CONNECTIONS 1 1000000
need_wholes SCALING_WORKERS 1 1024
need_wholes SCALING_LISTENERS 1 1024

# shellcheck source=tests/load/stage.sh
. "$here/stage.sh"

fail() {
	echo "scaling: $1" >&2
	exit "$2"
}

# --- the server -------------------------------------------------------------------------------

# usher_config MODE WORKERS LISTENERS: the last listener is the one that is measured.
usher_config() {
	first_port=$((port + 1))
	port=$((port + $3))
	cat <<-END
		workers: $2
		control: $folder/control.sock
		listeners:
	END
	seq "$first_port" "$port" | while read -r each; do
		echo "  - {name: l$each, host: 127.0.0.1, port: $each, handler: echo, distribute: $1}"
	done
}

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

# start_usher MODE WORKERS LISTENERS: sets server and start_ms, the time until all is ready.
start_usher() {
	port=20000
	usher_config "$@" >"$folder/usher.yaml"
	port=$((20000 + $3))
	before=$(now_ms)
	start server "$build/usherd" -c "$folder/usher.yaml"
	timeout 60 tail -n +1 -s 0.01 -f --pid="$server" "$folder/server.log" |
		grep -q 'info: ready: ' ||
		fail "usherd does not start: $(tail -n 1 "$folder/server.log")" 69
	start_ms=$(($(now_ms) - before))
}

# --- figures ----------------------------------------------------------------------------------

# The supervisor's memory, of its own and its part of what it shares, in KiB.
supervisor_kib() {
	awk '/^Pss:/ { print $2 }' "/proc/$server/smaps_rollup"
}

workers_kib() {
	for pid in $(pgrep -P "$server"); do
		awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup"
	done | awk '{ sum += $1 } END { print sum + 0 }'
}

# The supervisor's processor time so far, in microseconds.
supervisor_us() {
	awk '{ printf "%d\n", $1 / 1000 }' "/proc/$server/schedstat"
}

# How long getConnections over all workers takes, in milliseconds, with its program's start.
count_ms() {
	before=$(date +%s%N)
	timeout 10 "$build/usherctl" -s "$folder/control.sock" connections --json >/dev/null || return 1
	awk -v before="$before" -v after="$(date +%s%N)" 'BEGIN { print (after - before) / 1e6 }'
}

# sample NAME OPTIONS...: usher-load's line of JSON in $folder/NAME, with the supervisor's part.
sample() {
	name=$1
	shift
	us=$(supervisor_us)
	timeout 150 taskset -c "$cpus" "$load" --json --quiet -S "$server" -d "$SCALING_SECONDS" \
		--warmup 0.2 "$@" "127.0.0.1:$port" >"$folder/load" 2>"$folder/load.log" ||
		fail "$name failed: $(cat "$folder/load.log")" 70
	jq --argjson us "$(($(supervisor_us) - us))" '{
		server_us: .server.cpu_us_per_operation,
		supervisor_us: ($us / ([.total.operations, 1] | max)),
		disturbed: .machine.disturbed}' "$folder/load" >"$folder/$name" ||
		fail "$name has left no figures" 70
}

# record AXIS N: the figures of one point as a line of JSON.
record() {
	count_ms=$(count_ms) || fail "$mode, $2 $1: the connections could not be counted" 70
	jq -nc --arg axis "$1" --arg mode "$mode" --argjson n "$2" --argjson round "$round" --argjson start_ms "$start_ms" \
		--argjson before_kib "$before_kib" --argjson supervisor_before "$supervisor_before" \
		--argjson supervisor_kib "$(supervisor_kib)" --argjson workers_kib "$(workers_kib)" \
		--argjson count_ms "$count_ms" --slurpfile message "$folder/message" \
		--slurpfile connection "$folder/connection" '
		{axis: $axis, mode: $mode, n: $n, round: $round, start_ms: $start_ms, count_ms: $count_ms,
		 supervisor_kib: $supervisor_kib, supervisor_grew_kib: ($supervisor_kib - $supervisor_before),
		 workers_kib: $workers_kib, workers_grew_kib: ($workers_kib - $before_kib),
		 message: $message[0], connection: $connection[0]}' >>"$out/points.jsonl" ||
		fail "$mode, $2 $1: a figure is missing" 70
}

note_memory() {
	before_kib=$(workers_kib)
	supervisor_before=$(supervisor_kib)
}

# What a message and what a connection cost, at a rate that leaves the processor time to sleep.
measure() {
	sample message -c 16 -r 4000 paced
	sample connection -r 1000 churn
}

# --- what grows -------------------------------------------------------------------------------

# points LIST: of the LIST, those that are measured in this round.
points() {
	# shellcheck disable=SC2086 # words
	printf '%s\n' $1 | sort -nu | if [ "$round" -eq 1 ]; then cat; else sed '1b;$!d'; fi
}

# Held by one process of usher-load, which says by a pipe that all of them are open.
hold_connections() {
	held=$folder/held
	rm -f "$held"
	mkfifo "$held"
	seconds=$(awk -v sample="$SCALING_SECONDS" 'BEGIN { print 2 * (4 + 3 * sample) }')
	start holder "$load" --quiet --json --warmup 0 -d "$seconds" -c "$1" \
		--midway "echo >$held" idle "127.0.0.1:$port"
	timeout 60 cat "$held" >/dev/null ||
		fail "$1 connections could not be held: $(cat "$folder/holder.log")" 70
}

grow_connections() {
	for n in $(points "$SCALING_CONNECTIONS"); do
		start_usher "$mode" 2 1
		note_memory
		hold_connections "$n"
		measure
		record connections "$n"
		stop_servers
	done
}

grow_workers() {
	for n in $(points "$SCALING_WORKERS"); do
		start_usher "$mode" "$n" 1
		note_memory
		measure
		record workers "$n"
		stop_servers
	done
}

grow_listeners() {
	for n in $(points "$SCALING_LISTENERS"); do
		start_usher "$mode" 2 "$n"
		note_memory
		measure
		record listeners "$n"
		stop_servers
	done
}

mkdir -p "$out"
: >"$out/points.jsonl"
for round in $(seq "$SCALING_ROUNDS"); do
	for mode in $SCALING_MODES; do
		for axis in connections workers listeners; do
			echo "scaling: round $round, $mode, $axis" >&2
			"grow_$axis"
		done
	done
done

jq -s '.' "$out/points.jsonl" >"$out/points.json"
for part in summary details; do
	jq -r --arg part $part -f "$here/scaling.jq" "$out/points.json" >"$out/$part.md" || exit 70
done
cat "$out/summary.md" "$out/details.md" >"$out/SCALING.md"
cat "$out/SCALING.md"
missing=$(
	below SCALING_ROUNDS 3
	below SCALING_SECONDS 1
	other SCALING_MODES "$modes"
	other SCALING_CONNECTIONS "$connections"
	other SCALING_WORKERS "$workers"
	other SCALING_LISTENERS "$listeners"
)
keep_results "$out" "$build" "$here/RESULTS.md" "$missing"
echo "in $out: SCALING.md, points.json" >&2
