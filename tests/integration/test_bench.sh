#!/bin/sh
# What `make bench` makes of its samples: medians, ratios, one state of the machine at a time, and
# nothing that was rejected. The samples here are made up.
set -u

command -v jq >/dev/null || {
	echo "ok bench_sums_up_its_samples # SKIP jq is not installed"
	exit 0
}

here=tests/load
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# sample CELL CPUS SERVER DISTANCE-NS PER-SECOND CPU-US FAULT
sample() {
	jq -nc --arg cell "$1" --arg cpus "$2" --arg server "$3" --argjson distance "$4" \
		--argjson rate "$5" --argjson cpu "$6" --argjson fault "$7" '
		{cell: $cell, cpus: $cpus, workers: 2, kind: "echo", server: $server, round: 1,
		 status: (if $fault // "" | startswith("failed") then 69 else 0 end),
		 fault: $fault, distance_ns: $distance, sample: {
			settings: {mode: "echo", connections: 64, processes: (if $cell == "even" then 2 else 1 end)},
			open_seconds: 0.5, total: {connections: 64},
			result: {operations: 10, per_second: $rate, mib_per_second: 1,
				latency_us: {p50: 10, p99: 20, p999: 30}},
			client: {cpu_share: 0.5, bottleneck: false, cpu_us_per_operation: 2},
			server: {cpu_us_per_operation: $cpu, switches_per_operation: 1,
				pss_before: 1000, pss_per_connection: 5, spread: [33, 31, 0]}}}'
}

{
	for rate in 100 300 200; do
		sample steady one limit-shared 4 $rate 2 null
	done
	for rate in 90 190 280; do
		sample steady one usher-shared 4 $rate 3 null
	done
	sample steady one usher-shared 4 1000000 1 '"others took 80 % of a processor"'
	sample steady one node-none 4 95 8 null
	for distance in 4 8 11; do
		sample two two limit-shared $distance $((distance * 100)) 2 null
	done
	# Most are near, but the peer was there only while it was far.
	for distance in 4 5 6 7 30; do
		sample far apart limit-shared $distance $((distance * 100)) 2 null
	done
	sample far apart usher-shared 32 2850 2 null
	for rate in 100 101 102; do
		sample even one limit-shared 4 $rate 2 null
		sample even one usher-shared 4 $rate 2 null
		sample even one usher-reuse-port 4 $rate 2 null
	done
	sample broken one nothing 4 0 0 '"failed with status 69"'
	sample broken one usher-shared 4 0 0 '"failed with status 69"'
	sample broken one usher-shared 4 0 0 '"failed with status 76"'
	sample broken one usher-reuse-port 4 0 0 '"failed with status 69"'
	sample broken one usher-reuse-port 4 0 0 '"others took 80 % of a processor"'
	sample broken one node-rr 4 0 0 '"others took 80 % of a processor"'
	sample even one nothing 4 0 0 '"failed with status 69"'
	sample gone one nothing 4 0 0 '"failed with status 69"'
	sample short one limit-shared 4 100 2 null
	sample short one usher-shared 4 0 0 '"others took 80 % of a processor"'
	sample moved apart limit-shared 4 100 2 null
	sample moved apart limit-shared 4 100 2 null
	sample moved apart usher-shared 40 100 2 null
	sample moved apart usher-shared 4 0 0 '"others took 80 % of a processor"'
} >"$folder/samples"
echo '{"cpu": "a CPU", "versions": {"usher": "0"}}' >"$folder/machine"
cat >"$folder/targets" <<'END'
# A comment, and a line without anything.

steady         shared             rate    limit         >=0.96
broken         reuse-port,proxy   rate    limit         >=0.96
broken         shared             cpu     limit         <=1
steady         shared             rate    node-none     >=2  # just so
even           shared,reuse-port  cpu     limit-shared  <=1
even           shared             bytes   -             <=5
even           shared             spread  -             <=1.05
even           shared,proxy       rate    limit-shared  >=1
elsewhere      shared             rate    limit         >=1
moved          shared             rate    limit         >=1
broken         reuse-port         rate    node-rr       >=1
END

if ! BENCH_ROUNDS=3 BENCH_SECONDS=1 BENCH_FOREIGN=0.25 jq -s --slurpfile machine "$folder/machine" \
	--rawfile targets "$folder/targets" -f $here/summary.jq "$folder/samples" >"$folder/results" 2>"$folder/said"; then
	echo "not ok bench_sums_up_its_samples: $(cat "$folder/said")"
	exit 1
fi

# is NAME WANTED FILTER: what the filter finds in the results.
is() {
	found=$(jq -c "$3" "$folder/results" 2>&1)
	if [ "$found" = "$2" ]; then
		echo "ok $1"
	else
		echo "not ok $1: $found instead of $2"
	fi
}

is cells_keep_their_order '["steady","two","far","even","broken","gone","short","moved"]' '[.cells[].cell]'
is rates_are_medians_with_their_range '[190,90,280]' \
	'.cells[0].servers["usher-shared"].per_second | [.median, .min, .max]'
is ratios_are_to_the_limit_of_the_same_accept_mode '["limit-shared",0.95,1.5]' \
	'.cells[0].servers["usher-shared"] | [.limit, .rate_ratio, .cpu_ratio]'
is rates_per_processor_second_leave_out_what_others_took '[250000,200000,0.8]' \
	'.cells[0].servers | [.["limit-shared"].per_cpu_second, .["usher-shared"].per_cpu_second,
		.["usher-shared"].per_cpu_ratio]'
is rejected_samples_count_nowhere_and_are_named '[3,["usher-shared","nothing","usher-shared","usher-shared","usher-reuse-port","usher-reuse-port","node-rr","nothing","nothing","usher-shared","usher-shared"]]' \
	'[.cells[0].servers["usher-shared"].n, [.rejected[].server]]'
is two_cpus_are_compared_in_one_state '["near",2,600,1]' \
	'.cells[1] | [.state, .servers["limit-shared"].n, .servers["limit-shared"].per_second.median,
		.other_state]'
is state_is_one_that_all_servers_were_measured_in '["far",1,3000,0.95,4]' \
	'.cells[2] | [.state, .fewest, .servers["limit-shared"].per_second.median,
		.servers["usher-shared"].rate_ratio, .other_state]'
is server_without_a_good_sample_has_fewest '[0,0,0]' '[.cells[4,6,7].fewest]'
is server_that_always_fails_is_not_waited_for '[3,null]' '[.cells[3,5].fewest]'
is spread_is_that_of_the_workers_alone '[33,31]' \
	'.cells[0].servers["usher-shared"].connections_of_workers'
is cell_without_a_good_sample_is_empty '{}' '.cells[4].servers'
is targets_are_met_missed_or_not_known \
	'[["steady",false],["broken",null],["broken",false],["steady",true],["even",true],["even",true],["even",false],["even",null],["moved",null],["broken",null]]' \
	'[.targets[] | [.cell, .met]]'
is targets_say_who_reached_what '[["usher-shared",1,3,true],["usher-reuse-port",1,3,true]]' \
	'.targets[4].servers | map([.server, .value, .n, .met])'
is target_beside_one_sample_says_so '[["usher-shared",2,1]]' \
	'.targets[3].servers | map([.server, .value, .n])'

# jq's programs write the summary, then the details.
both() {
	jq -r --arg part summary -f "$1" "$2" && jq -r --arg part details -f "$1" "$2"
}

if both $here/table.jq "$folder/results" >"$folder/table" 2>"$folder/said" &&
	grep -qx 'usher-shared: 2 times node-none' "$folder/table" &&
	grep -q '^| usher-shared | 190 \[90-280\] | x0.95 | x0.8 | 3 | x1.5 |' "$folder/table" &&
	grep -qx 'No sample counted.' "$folder/table" &&
	grep -qx '### steady: echo, 64 connections, one CPU' "$folder/table" &&
	grep -qx '### even: echo, 64 connections, load of 2 processes, one CPU' "$folder/table" &&
	grep -qx '## Targets: 3 of 10 met, 3 missed, 4 not known' "$folder/table" &&
	grep -qx '| steady | rate / the limit.s | at least 0.96 | \*\*shared 0.95\*\* | \*\*missed\*\* |' "$folder/table" &&
	grep -q '^| broken | rate .*| reuse-port not measured (1 failed, 1 disturbed), proxy not measured | not known |$' "$folder/table" &&
	grep -q '^| broken .*| reuse-port not measured (1 failed, 1 disturbed; node-rr: 1 disturbed) | not known |$' "$folder/table" &&
	grep -q '^| moved .*| shared not measured (1 disturbed, 1 in other state) | not known |$' "$folder/table" &&
	grep -q '^| broken | CPU .*| \*\*shared all samples failed\*\* | \*\*missed\*\* |$' "$folder/table" &&
	grep -qx '| even | connections, most to least | at most 1.05 | \*\*shared 1.065\*\* | .*' "$folder/table" &&
	grep -q '^- steady, usher-shared, round 1: others took 80 %' "$folder/table"; then
	echo "ok table_says_what_the_results_say"
else
	echo "not ok table_says_what_the_results_say: $(cat "$folder/said" "$folder/table")"
fi

# point ROUND MODE AXIS N MESSAGE-US CONNECTION-US WORKERS-KIB DISTURBED
point() {
	jq -nc --argjson round "$1" --arg mode "$2" --arg axis "$3" --argjson n "$4" --argjson message "$5" \
		--argjson connection "$6" --argjson kib "$7" --argjson disturbed "$8" '
		{axis: $axis, mode: $mode, n: $n, round: $round, start_ms: 20, count_ms: 2, supervisor_kib: 700,
		 supervisor_grew_kib: 4, workers_kib: $kib, workers_grew_kib: $kib,
		 message: {server_us: $message, supervisor_us: 0, disturbed: false},
		 connection: {server_us: $connection, supervisor_us: 0.5, disturbed: $disturbed}}'
}

{
	point 1 shared connections 1024 6 24 300 false
	point 1 shared connections 512 5 20 200 true
	point 1 shared connections 0 4 16 0 true
	point 1 shared workers 1 4 16 500 false
	point 2 shared connections 1024 3 32 400 true
	point 2 shared connections 0 4 16 0 false
	point 3 shared connections 1024 8 40 200 false
	point 3 shared connections 0 4 10 10 false
} | jq -s . >"$folder/points"

if both $here/scaling.jq "$folder/points" >"$folder/table" 2>"$folder/said" &&
	grep -qxF '| shared | connections | 0 to 1024 | 300 [190, 400] | 0 [0, 0] | x1.5 [0.75, 2] | x2 [1.5, 4] d2 | 0.5 [0.5, 0.5] d1 to 0.5 [0.5, 0.5] d1 |' "$folder/table" &&
	grep -qxF '| 512 | 5 | 0 | 20 d1 | 0.5 d1 | 200 | 700 | 20 | 2 |' "$folder/table" &&
	grep -qF '| 1024 | 6 [3, 8] | 0 [0, 0] | 32 [24, 40] d1 |' "$folder/table" &&
	[ "$(grep -c '^| shared' "$folder/table")" = 1 ]; then
	echo "ok scaling_says_what_one_more_costs"
else
	echo "not ok scaling_says_what_one_more_costs: $(cat "$folder/said" "$folder/table")"
fi

if [ "$(jq -r --arg panel one -f $here/plot.jq "$folder/results" | sed -n 2p)" = \
	"steady 1 0.475 nan 0.95" ]; then
	echo "ok plot_has_parts_of_the_best_limit"
else
	echo "not ok plot_has_parts_of_the_best_limit: $(jq -r --arg panel one -f $here/plot.jq "$folder/results")"
fi
