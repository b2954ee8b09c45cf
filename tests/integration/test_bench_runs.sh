#!/bin/sh
# What the scripts of `make bench` and `make bench-scaling` refuse, in which order they measure, and
# which runs they keep. They run in a copy of their folder; where it does not matter what is measured,
# in place of usher-load something answers at once.
set -u

for each in jq taskset setpriv; do
	command -v $each >/dev/null || {
		echo "ok bench_runs # SKIP $each is not installed"
		exit 0
	}
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r tests/load "$folder/load"
rm "$folder/load/RESULTS.md"
export BENCH_NETWORK=host

# run SCRIPT BUILD VARIABLE=VALUE...: sets status, leaves what was said in $folder/said.
run() {
	script=$1 build=$2
	shift 2
	timeout 120 env "$@" "$folder/load/$script" "$build" >"$folder/out" 2>"$folder/said"
	status=$?
}

# expect NAME STATUS TEXT: of the last run.
expect() {
	if [ "$status" = "$2" ] && grep -qF -- "$3" "$folder/said"; then
		echo "ok $1"
	else
		echo "not ok $1: status $status, $(tail -n 3 "$folder/said")"
	fi
}

# programs NAME REPLACED: a build folder called NAME, with one program REPLACED by standard input.
programs() {
	mkdir -p "$folder/$1/tests/load"
	ln -s "$USHER_BUILD"/usher* "$folder/$1"
	ln -s "$USHER_BUILD"/tests/load/limit_* "$folder/$1/tests/load"
	rm "$folder/$1/$2"
	cat >"$folder/$1/$2"
	chmod +x "$folder/$1/$2"
}

# --- variables --------------------------------------------------------------------------------

for each in BENCH_ROUNDS=0 BENCH_ROUNDS=1.5 BENCH_ROUNDS=08 BENCH_SECONDS=0 BENCH_SECONDS=x \
	BENCH_SECONDS=1e1 BENCH_SECONDS=. BENCH_WARMUP=-1 BENCH_FOREIGN=25%; do
	run bench.sh "$USHER_BUILD" BENCH_CELLS=none "$each"
	expect "refused_$each" 64 "bench: ${each%=*} is not "
done
for each in SCALING_ROUNDS=0 SCALING_SECONDS=0 'SCALING_MODES=shared bogus' 'SCALING_MODES=*' SCALING_WORKERS=0 \
	'SCALING_CONNECTIONS=10 1.5' 'SCALING_LISTENERS=*' 'SCALING_LISTENERS= '; do
	run scaling.sh "$USHER_BUILD" "$each"
	expect "refused_$each" 64 "scaling: ${each%%=*} is not "
done
run bench.sh "$USHER_BUILD" BENCH_SERVERS=none
expect servers_that_do_not_exist_are_refused 64 'no server of those cells is called none'

# --- cells and targets ------------------------------------------------------------------------

# Those of the bench itself are right: what is wrong here comes after them.
run bench.sh "$USHER_BUILD" BENCH_CELLS=none BENCH_SECONDS=.5
expect cells_and_targets_name_what_is_measured 64 'no cell is called none'

# wrong NAME FILE LINE TEXT: with one LINE more.
wrong() {
	cp "$folder/load/$2" "$folder/right"
	echo "$3" >>"$folder/load/$2"
	run bench.sh "$USHER_BUILD" BENCH_CELLS=none
	expect "$1" 78 "$2:$(wc -l <"$folder/load/$2"): $4"
	cp "$folder/right" "$folder/load/$2"
}

wrong unknown_cell targets.conf 'churn,chrun shared rate limit >=1' 'no cell of cells.conf: chrun'
wrong unknown_usher targets.conf 'churn shard rate limit >=1' \
	'no server that cell churn measures: usher-shard'
wrong unknown_peer targets.conf 'churn shared rate nginx >=1' \
	'no server that cell churn measures: nginx'
wrong unknown_figure targets.conf 'churn shared speed limit <=1' 'no figure: speed'
wrong bound_the_wrong_way targets.conf 'churn shared cpu limit >=1' 'no bound for cpu: >=1'
wrong too_few_words targets.conf 'churn shared rate >=1' 'not five words: '
wrong unknown_servers cells.conf 'new one 2 ehco 1 echo -c 1' 'no SERVERS: ehco'
wrong samples_without_a_number cells.conf 'new one 2 echo churn' 'no number of SAMPLES: churn'
wrong name_of_two_cells cells.conf 'churn one 2 echo 1 churn' 'a second cell of this name: churn'

# --- a whole run ------------------------------------------------------------------------------

# The round-robin of usher fails. Who is to hold connections does nothing else.
programs quick usher-load <<'END'
#!/bin/sh
while [ "$1" != -S ]; do
	if [ "$1" = --midway ]; then
		sh -c "$2"
		exec sleep 60
	fi
	shift
done
[ -z "${DISTURBED:-}" ] || foreign=1
config=$(tr '\0' '\n' <"/proc/$2/cmdline" | grep 'usher.yaml$')
if [ -n "$config" ] && grep -q round-robin "$config"; then
	echo "usher-load: nobody is there" >&2
	exit 69
fi
sed "s/@/${foreign:-0}/" <<'LINE'
{"settings": {"mode": "echo"}, "open_seconds": 0.5, "total": {"connections": 64},
	"result": {"operations": 10, "per_second": 100, "mib_per_second": 1,
		"latency_us": {"p50": 10, "p99": 20, "p999": 30}},
	"client": {"cpu_share": 0.5, "bottleneck": false, "cpu_us_per_operation": 2},
	"machine": {"foreign_share": @, "steal_share": 0},
	"server": {"cpu_us_per_operation": 2, "switches_per_operation": 1, "pss_before": 1000,
		"pss_per_connection": 5, "spread": [32, 32, 0]}}
LINE
END
# Node starts slowly, and need not be installed.
mkdir "$folder/peers"
cat >"$folder/peers/node" <<'END'
#!/bin/sh
[ "$1" = --version ] || { echo ready; exec sleep 60; }
END
chmod +x "$folder/peers/node"
PATH=$folder/peers:$PATH

echo 'here one 2 unix 1 echo' >"$folder/load/cells.conf"
echo 'here shared,round-robin rate limit >=0.9' >"$folder/load/targets.conf"

# The servers of each round, in their order.
order() {
	jq -r '"\(.round) \(.server)"' "$folder/quick/bench/samples.jsonl"
}

run bench.sh "$folder/quick"
expect whole_run_is_kept 0 "kept in $folder/load/RESULTS.md"
if grep -q '^| here .*| shared 1, \*\*round-robin all samples failed\*\* | \*\*missed\*\* |' \
	"$folder/load/RESULTS.md"; then
	echo "ok server_that_always_fails_misses_its_target"
else
	echo "not ok server_that_always_fails_misses_its_target: $(cat "$folder/load/RESULTS.md")"
fi
order >"$folder/whole"

# Nobody is always behind the same one, and nobody is left out.
sorts=$(awk '{ rounds[$1] = rounds[$1] " " $2 } END { for (i in rounds) print rounds[i] }' \
	"$folder/whole" | sort -u | wc -l)
followed=$(awk '$1 == round { print before, $2 } { round = $1; before = $2 }' "$folder/whole" |
	grep 'usher-shared$' | sort -u | wc -l)
missing=$(awk '{ print $2 }' "$folder/whole" | sort | uniq -c | awk '$1 != 5')
if [ "$sorts" = 5 ] && [ "$followed" -ge 2 ] && [ -z "$missing" ]; then
	echo "ok servers_meet_in_varying_order"
else
	echo "not ok servers_meet_in_varying_order: $sorts, $followed, $missing: $(cat "$folder/whole")"
fi

rm "$folder/load/RESULTS.md"
run bench.sh "$folder/quick" BENCH_ROUNDS=2 BENCH_SECONDS=.5 BENCH_SERVERS='usher*'
expect partial_run_says_why_it_is_not_kept 0 "not kept in $folder/load/RESULTS.md: BENCH_ROUNDS is 2, \
less than 5; BENCH_SECONDS is .5, less than 1; BENCH_SERVERS is 'usher*'"
if [ ! -e "$folder/load/RESULTS.md" ] &&
	[ "$(order)" = "$(grep '^[12] usher' "$folder/whole")" ]; then
	echo "ok order_is_the_same_in_the_next_run"
else
	echo "not ok order_is_the_same_in_the_next_run: $(order; cat "$folder/whole")"
fi

run bench.sh "$folder/quick" BENCH_ROUNDS=2 BENCH_SERVERS=limit-pass DISTURBED=1
expect who_has_too_few_samples_has_half_as_many_rounds_more 0 'round 3, of cells with few samples'
run bench.sh "$folder/quick" BENCH_ROUNDS=2 BENCH_SERVERS='limit-pass|usher-round-robin'
if [ "$status" = 0 ] && ! grep -q 'few samples' "$folder/said"; then
	echo "ok who_fails_has_no_rounds_more"
else
	echo "not ok who_fails_has_no_rounds_more: status $status, $(cat "$folder/said")"
fi

cat >"$folder/load/cells.conf" <<'END'
here one 2 unix 3 echo
there one 2 unix 1 echo
END
run bench.sh "$folder/quick" BENCH_ROUNDS=1 BENCH_CELLS='*here' BENCH_SERVERS='limit-*'
cells=$(jq -r .cell "$folder/quick/bench/samples.jsonl" | uniq -c | tr -s ' \n' ' ')
if [ "$cells" = ' 2 here 2 there 4 here ' ]; then
	echo "ok samples_of_a_cell_lie_apart"
else
	echo "not ok samples_of_a_cell_lie_apart:$cells"
fi

# --- scaling ----------------------------------------------------------------------------------

programs deaf usherctl <<'END'
#!/bin/sh
exit 69
END
run scaling.sh "$folder/deaf" SCALING_SECONDS=.05 SCALING_MODES=shared SCALING_CONNECTIONS=1
expect point_without_a_figure_is_an_error 70 \
	'shared, 1 connections: the connections could not be counted'

programs heard usherctl <<'END'
#!/bin/sh
exit 0
END
ln -sf "$folder/quick/usher-load" "$folder/heard"
run scaling.sh "$folder/heard" SCALING_SECONDS=.02 SCALING_MODES='shared reuse-port' SCALING_ROUNDS=2 \
	SCALING_CONNECTIONS=1 SCALING_WORKERS=1 SCALING_LISTENERS='3 1 2'
measured=$(jq -j 'select(.axis == "listeners") | "\(.round)\(.mode[:1])\(.n) "' \
	"$folder/heard/scaling/points.jsonl")
if [ "$status" = 0 ] && [ "$measured" = '1s1 1s2 1s3 1r1 1r2 1r3 2s1 2s3 2r1 2r3 ' ]; then
	echo "ok ends_are_measured_in_every_round"
else
	echo "not ok ends_are_measured_in_every_round: status $status, $measured, $(tail -n 3 "$folder/said")"
fi
