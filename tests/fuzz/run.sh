#!/bin/sh
# Runs each fuzz target of a build folder for some seconds, starting from the corpus beside its
# source (tests/fuzz/corpus/NAME/ for fuzz_NAME), and ends with: N passed, N failed, N skipped.
# What it learns stays in BUILD/corpus/NAME for the next run; an input that crashes is kept there
# too and named. Each target has a processor to itself, so as many run at a time as there are.
#
#   tests/fuzz/run.sh BUILD SECONDS
set -u

build=$1
seconds=$2
sources=$(dirname "$0")
passed=0 failed=0
running=

stop() {
	for entry in $running; do kill "${entry%%:*}"; done
	wait
	exit "$1"
}
trap 'stop 143' TERM
trap 'stop 130' INT

# Waits for those that run, PID:NAME each, and says how they have ended.
collect() {
	for entry in $running; do
		name=${entry#*:}
		log=$build/corpus/$name.log
		if wait "${entry%%:*}"; then
			passed=$((passed + 1))
			executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
			echo "fuzz_$name: $executions executions, no crash"
		else
			failed=$((failed + 1))
			echo "fuzz_$name: FAILED; what it said at the end:"
			tail -n 40 "$log"
		fi
	done
	running=
}

for target in "$build"/tests/fuzz/fuzz_*; do
	if [ ! -f "$target" ] || [ ! -x "$target" ]; then
		continue
	fi
	name=${target##*/fuzz_}
	seeds=$sources/corpus/$name
	learnt=$build/corpus/$name
	mkdir -p "$learnt"
	[ -d "$seeds" ] || seeds=

	# Leaks are looked for as well; an input may take ten seconds at most.
	timeout -k 10 "$((seconds + 60))" "$target" -max_total_time="$seconds" -timeout=10 \
		-rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$build/corpus/$name." \
		"$learnt" ${seeds:+"$seeds"} </dev/null >"$build/corpus/$name.log" 2>&1 &
	running="$running $!:$name"
	[ "$(echo "$running" | wc -w)" -lt "$(nproc)" ] || collect
done
collect

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
