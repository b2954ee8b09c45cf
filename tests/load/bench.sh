#!/bin/sh
# Measures usher beside its peers and the limit: the same load on each in turn, round after round
# (A B C, B A C), so that what the machine does meanwhile meets all of them. See cells.conf for the
# load, summary.jq for what is made of the samples, targets.conf for what they are held to.
#
#   tests/load/bench.sh BUILD
#
# BENCH_ROUNDS (5), BENCH_SECONDS (1) for each sample, BENCH_WARMUP (0.5), BENCH_CELLS and
# BENCH_SERVERS (patterns of the shell such as 'churn|*echo*'; all), BENCH_FOREIGN (0.25): of a
# processor, what others may take before a sample is measured again.
# Cells in which samples were rejected, or fell in two states of the machine, are measured for up to half
# as many rounds more, until each server that could be measured has one for every second round that
# counts.
# A run of 5 rounds or more, 1 s or more, with all cells and servers is kept as RESULTS.md.
set -u

BENCH_ROUNDS=${BENCH_ROUNDS:-5}
BENCH_SECONDS=${BENCH_SECONDS:-1}
BENCH_WARMUP=${BENCH_WARMUP:-0.5}
BENCH_CELLS=${BENCH_CELLS:-*}
BENCH_SERVERS=${BENCH_SERVERS:-*}
BENCH_FOREIGN=${BENCH_FOREIGN:-0.25}
ATTEMPTS=3 # for a sample that was disturbed

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd) || exit 66
out=$build/bench
load=$build/usher-load
limit=$build/tests/load
PATH=$PATH:/usr/sbin
export PATH BENCH_ROUNDS BENCH_SECONDS BENCH_FOREIGN

# shellcheck source=tests/load/settings.sh
. "$here/settings.sh"
# With more seconds, programs that are started for a sample alone would reach the end of their time.
need_whole BENCH_ROUNDS 1 1000
need_number BENCH_SECONDS 0.01 30
need_number BENCH_WARMUP 0 10
need_number BENCH_FOREIGN 0 1000

# shellcheck source=tests/load/stage.sh
. "$here/stage.sh"

matches() {
	# shellcheck disable=SC2254 # a pattern
	eval "case \$1 in $2) return 0 ;; esac"
	return 1
}

# --- servers ----------------------------------------------------------------------------------

# Where Debian's package has the module for streams.
nginx_module() {
	ls /usr/lib/nginx/modules/ngx_stream_module.so 2>/dev/null
}

fill_in() {
	sed -e "s|@WORKERS@|$workers|" -e "s|@PORT@|$port|" -e "s|@FOLDER@|$folder|" \
		-e "s|@TO@|$to|" -e "s|@MODULE@|$(nginx_module)|" "$here/peers/$1" >"$folder/$1"
}

# usher_config DISTRIBUTE HANDLER
usher_config() {
	distribute=", distribute: $1"
	[ "$1" != shared ] || distribute= # the default
	cat >"$folder/usher.yaml" <<-END
		workers: $workers
		control: $folder/control.sock
		listeners:
		  - {name: bench, $address_usher, handler: $2$distribute}
	END
}

start_limit() {
	# shellcheck disable=SC2086 # words
	start server "$limit/$1" --workers "$workers" $address_limit --seconds 120 $2
}

start_usher() {
	usher_config "$1" "$2"
	start server "$build/usherd" -c "$folder/usher.yaml"
}

# start_server NAME: sets server. What is measured, by name.
start_server() {
	case $1 in
	limit-shared) start_limit limit_echo '--accept shared-even' ;;
	limit-reuse-port) start_limit limit_echo '--accept reuse-port' ;;
	limit-pass) start_limit limit_echo '--accept pass' ;;
	limit-copy) start_limit limit_relay "--accept shared-even --to 127.0.0.1:$to" ;;
	limit-splice) start_limit limit_relay "--accept shared-even --to splice:127.0.0.1:$to" ;;
	usher-proxy) start_usher shared "{proxy: {to: [\"127.0.0.1:$to\"]}}" ;;
	usher-*) start_usher "${1#usher-}" echo ;;
	node-rr) start server node "$here/peers/node.js" rr "$workers" "$address_node" ;;
	node-none) start server node "$here/peers/node.js" none "$workers" "$address_node" ;;
	node-pipe) start server node "$here/peers/node.js" none "$workers" "$port" "$to" ;;
	nginx)
		fill_in nginx.conf
		start server nginx -p "$folder" -c "$folder/nginx.conf" -e stderr
		;;
	haproxy)
		fill_in haproxy.cfg
		start server haproxy -db -q -f "$folder/haproxy.cfg"
		;;
	esac
}

# start_server NAME and until all its workers are there, as its log tells. Of those that tell nothing
# the connect that succeeds (--wait) must do.
start_and_wait() {
	start_server "$1"
	case $1 in
	limit-*) line='^listening' ;;
	usher-*) line='info: ready: ' ;;
	node-*) line='^ready' ;;
	*) return 0 ;;
	esac
	timeout 10 tail -n +1 -s 0.02 -f --pid="$server" "$folder/server.log" | grep -q "$line"
}

# What can be measured here: a peer that is installed, a kind of usher that this build has.
available() {
	case $1 in
	limit-*) return 0 ;;
	node-*) command -v node >/dev/null ;;
	usher-proxy)
		usher_config shared '{proxy: {to: ["127.0.0.1:1"]}}'
		"$build/usherd" -t -c "$folder/usher.yaml" >/dev/null 2>&1
		;;
	usher-*)
		usher_config "${1#usher-}" echo
		"$build/usherd" -t -c "$folder/usher.yaml" >/dev/null 2>&1
		;;
	nginx) command -v nginx >/dev/null && [ -n "$(nginx_module)" ] ;;
	haproxy) command -v haproxy >/dev/null ;;
	esac
}

kinds='echo cluster kill unix proxy stream-proxy'

servers_of() {
	case $1 in
	echo | cluster | kill)
		echo limit-shared limit-reuse-port limit-pass usher-shared usher-reuse-port \
			usher-round-robin usher-least-connections usher-source-hash node-none node-rr
		;;
	unix) echo limit-shared limit-pass usher-shared usher-round-robin node-none node-rr ;;
	*proxy) echo limit-copy limit-splice usher-proxy nginx haproxy node-pipe ;;
	esac
}

set_addresses() {
	next_port
	target=127.0.0.1:$port
	address_limit="--port $port"
	address_usher="host: 127.0.0.1, port: $port"
	address_node=$port
	[ "$1" = unix ] || return 0
	target=$folder/$port.sock
	address_limit="--path $target"
	address_usher="path: $target"
	address_node=$target
}

# --- samples ----------------------------------------------------------------------------------

# Sets cpus and scheduling, for the servers, and load_cpus.
set_cpus() {
	scheduling=
	case $1 in
	one) cpus=$first ;;
	two) cpus=$first,$second ;;
	batch) cpus=$first,$second scheduling='chrt --batch 0' ;;
	apart) cpus=$second ;;
	esac
	load_cpus=$cpus
	[ "$1" != apart ] || load_cpus=$first
}

# Nanoseconds between the two processors, see limit_distance.c.
distance() {
	if [ "$first" = "$second" ]; then
		echo 0
	else
		timeout 10 "$limit/limit_distance" "$first" "$second"
	fi
}

# For the shell: to kill the worker with the most connections, without a process for it. Killing one
# that has none would say nothing.
kill_the_fullest() {
	cat <<-END
		most=0
		for pid in $(pgrep -P "$server" | tr '\n' ' '); do
			set -- /proc/\$pid/fd/*
			[ \$# -le \$most ] || { most=\$#; worker=\$pid; }
		done
		kill -9 \$worker
	END
}

# Churn has its own; with one address source-hash would give all connections to one worker.
sources_of() {
	case $1:$2 in
	*proxy:* | unix:* | *:churn*) ;;
	*) echo '--sources 64' ;;
	esac
}

# One sample of the current cell: usher-load's line of JSON in $folder/sample.
take_sample() {
	to=
	if [ "${kind%proxy}" != "$kind" ]; then
		next_port
		to=$port
		start upstream "$limit/limit_echo" --workers "$workers" --accept shared-even \
			--port "$to" --seconds 120
	fi
	set_addresses "$kind"
	: >"$folder/sample"
	status=69
	start_and_wait "$1" || {
		stop_servers
		return
	}
	set --
	if [ "$kind" = kill ]; then
		set -- --midway "$(kill_the_fullest)"
	elif [ -n "$upstream" ]; then
		set -- --upstream-pid "$upstream"
	fi
	# shellcheck disable=SC2046,SC2086 # words
	timeout 150 taskset -c "$load_cpus" "$load" --json --quiet --wait 10 -S "$server" \
		-d "$BENCH_SECONDS" --warmup "$BENCH_WARMUP" "$@" $(sources_of "$kind" "$options") $options "$target" \
		>"$folder/sample" 2>"$folder/load.log"
	status=$?
	# The connections of the worker that was killed are lost, and no fault of the sample.
	[ "$kind$status" != kill76 ] || status=0
	stop_servers
}

# Why the sample does not count, or nothing.
fault_of_sample() {
	if [ "$status" -ne 0 ] || [ ! -s "$folder/sample" ]; then
		echo "failed with status $status: $(tail -n 1 "$folder/load.log" "$folder/server.log" \
			2>/dev/null | tr '\n' ' ')"
		return
	fi
	jq -r --arg limit "$BENCH_FOREIGN" --arg cpus "$on" --arg before "$before" --arg after "$after" '
		if .machine.foreign_share + .machine.steal_share > ($limit | tonumber) then
			"others took \(.machine.foreign_share * 100 | round) % of a processor"
		elif $cpus != "one" and .settings.mode != "idle" and ([$before, $after] | map(tonumber) | max > 2.5 * min) then
			"the machine changed its state: \($before) to \($after) ns"
		else empty end' "$folder/sample"
}

record() {
	[ -s "$folder/sample" ] || echo null >"$folder/sample"
	jq -c --arg cell "$cell" --arg server "$1" --arg round "$round" --arg cpus "$on" \
		--argjson status "$status" \
		--arg kind "$kind" --arg workers "$workers" --arg fault "$2" --arg before "$before" '
		{cell: $cell, cpus: $cpus, workers: ($workers | tonumber), kind: $kind, server: $server, round: ($round | tonumber),
		 status: $status,
		 fault: (if $fault == "" then null else $fault end), distance_ns: ($before | tonumber),
		 sample: .}' "$folder/sample" >>"$out/samples.jsonl"
}

measure() {
	attempt=1
	while :; do
		before=$(distance) || exit 70
		take_sample "$1"
		after=$(distance) || exit 70
		fault=$(fault_of_sample)
		record "$1" "$fault"
		[ -n "$fault" ] || break
		echo "    $1: $fault" >&2
		# What failed will fail again.
		[ "$status" -eq 0 ] || break
		[ $((attempt += 1)) -le $ATTEMPTS ] || break
	done
}

# Names that are wrong would drop out of the results without a word.
check_files() {
	for kind in $kinds; do
		echo "$kind $(servers_of "$kind")"
	done | awk -f "$here/check.awk" - "$here/cells.conf" "$here/targets.conf"
}

# Lines "CELL CPUS WORKERS KIND NTH OPTIONS..." of cells.conf that are wanted, one for each sample of the
# round: the second ones come after all first ones, when the machine may be in another state.
wanted_cells() {
	sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$here/cells.conf" |
		while read -r name on workers kind samples options; do
			matches "$name" "$BENCH_CELLS" || continue
			for each in $(seq "$samples"); do
				echo "$name $on $workers $kind $each $options"
			done
		done | sort -s -n -k 5,5
}

# In another order for each cell, round and sample, and in the same one when it is run again: who follows whom
# meets another machine than who comes first.
in_turn() {
	for name; do
		echo "$(echo "$cell $round $nth $name" | md5sum) $name"
	done | sort | sed 's/.* //'
}

run_round() {
	while read -r cell on workers kind nth options; do
		set_cpus "$on"
		echo "  $cell" >&2
		# shellcheck disable=SC2046 # words
		for name in $(in_turn $(servers_of "$kind")); do
			case " $present " in *" $kind:$name "*) measure "$name" ;; esac
		done
	done <"$folder/wanted"
}

# Leaves in $folder/wanted the cells in which some server has less than one sample that counts for
# every second round.
want_what_is_short() {
	results | jq -r --argjson rounds "$BENCH_ROUNDS" \
		'.cells[] | select(.fewest and .fewest * 2 < $rounds) | .cell' >"$folder/short" || exit 70
	awk 'NR == FNR { short[$1]; next } $1 in short' "$folder/short" "$folder/cells" >"$folder/wanted"
	[ -s "$folder/wanted" ]
}

# --- the whole --------------------------------------------------------------------------------

version() {
	"$@" 2>&1 | head -n 1
}

describe_machine() {
	jq -n --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
		--arg cpus "$(nproc)" --arg kernel "$(uname -sr)" \
		--arg system "$(sed -n 's/^PRETTY_NAME="*\([^"]*\).*/\1/p' /etc/os-release)" \
		--arg usher "$(version "$build/usherd" --version)" --arg node "$(version node --version)" \
		--arg nginx "$(version nginx -v)" --arg haproxy "$(version haproxy -v)" \
		--arg compiler "$(version cc --version)" --arg network "$BENCH_NETWORK" \
		--arg date "$(date -u +%Y-%m-%d)" '
		{date: $date, cpu: $cpu, cpus: ($cpus | tonumber), kernel: $kernel, system: $system,
		 network: $network,
		 versions: {usher: $usher, node: $node, nginx: $nginx, haproxy: $haproxy,
			compiler: $compiler}}'
}

# The servers of each kind that are wanted and available, as KIND:NAME.
find_servers() {
	to=
	workers=2
	for kind in $kinds; do
		set_addresses "$kind"
		for name in $(servers_of "$kind"); do
			matches "$name" "$BENCH_SERVERS" || continue
			if available "$name"; then
				echo "$kind:$name"
			else
				echo "bench: without $name ($kind)" >&2
			fi
		done
	done
}

results() {
	jq -s --slurpfile machine "$out/machine.json" --rawfile targets "$here/targets.conf" \
		-f "$here/summary.jq" "$out/samples.jsonl"
}

check_files || exit 78
wanted_cells >"$folder/cells"
cp "$folder/cells" "$folder/wanted"
[ -s "$folder/cells" ] || {
	echo "bench: no cell is called $BENCH_CELLS" >&2
	exit 64
}
present=$(find_servers | tr '\n' ' ')

# With half a second for starts and ends.
samples=$(while read -r cell on workers kind nth options; do
	for name in $(servers_of "$kind"); do
		case " $present " in *" $kind:$name "*) echo "$name" ;; esac
	done
done <"$folder/cells" | wc -l)
[ "$samples" -gt 0 ] || {
	echo "bench: no server of those cells is called $BENCH_SERVERS" >&2
	exit 64
}
mkdir -p "$out"
: >"$out/samples.jsonl"
describe_machine >"$out/machine.json"
awk -v samples="$samples" -v rounds="$BENCH_ROUNDS" -v seconds="$BENCH_SECONDS" \
	-v warmup="$BENCH_WARMUP" 'BEGIN { printf "%d samples in each of %d rounds: about %d minutes\n",
		samples, rounds, 1 + samples * rounds * (seconds + warmup + 0.5) / 60 }' >&2

round=0
while [ $((round += 1)) -le "$BENCH_ROUNDS" ]; do
	echo "round $round of $BENCH_ROUNDS" >&2
	run_round
done
while want_what_is_short && [ "$round" -le $((BENCH_ROUNDS + BENCH_ROUNDS / 2)) ]; do
	echo "round $round, of cells with few samples" >&2
	run_round
	round=$((round + 1))
done

results >"$out/results.json" || exit 70
for part in summary details; do
	jq -r --arg part $part -f "$here/table.jq" "$out/results.json" >"$out/$part.md" || exit 70
done
cat "$out/summary.md" "$out/details.md" >"$out/RESULTS.md"
cat "$out/RESULTS.md"
for panel in one two proxy; do
	jq -r --arg panel $panel -f "$here/plot.jq" "$out/results.json" >"$out/plot-$panel.dat" || exit 70
done
gnuplot -e "folder='$out'" "$here/plot.gp" ||
	echo "bench: no plot: gnuplot failed" >&2
missing=$(
	below BENCH_ROUNDS 5
	below BENCH_SECONDS 1
	other BENCH_CELLS '*'
	other BENCH_SERVERS '*'
)
keep_results "$out" "$build" "$here/RESULTS.md" "$missing"
echo "in $out: RESULTS.md, results.json, samples.jsonl, results.svg" >&2
