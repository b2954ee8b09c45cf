#!/bin/sh
# What the scripts of `make bench` and `make bench-scaling` refuse. They run in a copy of their folder.
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
for each in SCALING_SECONDS=0 'SCALING_MODES=shared bogus' 'SCALING_MODES=*' SCALING_WORKERS=0 \
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
wrong unknown_servers cells.conf 'new one 2 ehco echo -c 1' 'no SERVERS: ehco'
wrong cell_twice cells.conf 'churn one 2 echo churn' 'a cell twice: churn'

# --- scaling ----------------------------------------------------------------------------------

programs deaf usherctl <<'END'
#!/bin/sh
exit 69
END
run scaling.sh "$folder/deaf" SCALING_SECONDS=.05 SCALING_MODES=shared SCALING_CONNECTIONS=1
expect point_without_a_figure_is_an_error 70 \
	'shared, 1 connections: the connections could not be counted'
