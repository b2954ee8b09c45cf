#!/bin/sh
# Runs the tests of a build folder, each program under a time limit, and ends with one line:
# N passed, N failed, N skipped. What a program said is shown when it failed, and kept in
# BUILD/results.
#
#   tests/run.sh [--valgrind] BUILD [NAME...]
#
# BUILD/tests/{unit,integration}/test_* are cmocka programs; tests/integration/test_*.sh
# are scripts that print "ok NAME", "not ok NAME: REASON" or "ok NAME # SKIP REASON" for each check.
# With NAMEs only those programs run (test_addr, test_products.sh). --valgrind means the programs
# in BUILD/tests/unit.
#
# TEST_JOBS programs run at a time (two for each processor, as most of the time they wait), each in
# a network of its own: a port that one test has just let go must not be taken by another. With
# TEST_JOBS=1, or without the right to make networks, they run one after the other.
set -u

PROGRAM_SECONDS=${PROGRAM_SECONDS:-300}
TEST_JOBS=${TEST_JOBS:-$((2 * $(nproc)))}
case $TEST_JOBS in
'' | 0 | *[!0-9]*)
	echo "TEST_JOBS is no number of programs: $TEST_JOBS" >&2
	exit 64
	;;
esac

# Those that take longest start first, so that none is left over at the end.
FIRST="test_max_connections test_stopped_worker test_distribute test_beside_node.sh test_resting"
FIRST="$FIRST test_kills test_listen test_net_reentrancy"

wrapper=
if [ "$1" = --valgrind ]; then
	wrapper="valgrind -q --error-exitcode=99 --leak-check=full --child-silent-after-fork=yes"
	wrapper="$wrapper --errors-for-leak-kinds=definite,indirect"
	shift
fi
USHER_BUILD=$(cd "$1" && pwd) || exit 66
shift
export USHER_BUILD PROGRAM_SECONDS CMOCKA_MESSAGE_OUTPUT=STDOUT
export ASAN_OPTIONS="detect_stack_use_after_return=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}"

cd "$(dirname "$0")/.." || exit 71
here=$PWD/
results=$USHER_BUILD/results${wrapper:+/valgrind}
mkdir -p "$results"
names=$*
folder=$(mktemp -d) || exit 73
lanes=

# What the lanes run ends with them; a program that does not is killed by its timeout.
stop() {
	trap '' INT TERM HUP
	# shellcheck disable=SC2086 # a list of processes
	kill $lanes 2>/dev/null
	wait
	exit "$1"
}
trap 'rm -rf "$folder"' EXIT
trap 'stop 143' TERM
trap 'stop 130' INT
trap 'stop 129' HUP

# is_among PROGRAM LIST: whether its name is in a list of names.
is_among() {
	case " $2 " in *" ${1##*/} "*) return 0 ;; esac
	return 1
}

# The programs among the arguments that are wanted, one in a line.
wanted() {
	for program; do
		if [ -f "$program" ] && [ -x "$program" ] && is_among "$program" "${names:-${program##*/}}"; then
			echo "$program"
		fi
	done
}

lines() {
	grep -c "$1" "$said"
}

# A cmocka program sums up once for each group of tests.
summed_up() {
	sed -n "s/^\[ *$1 *\] \([0-9][0-9]*\) test.*/\1/p" "$said" | awk '{ sum += $1 } END { print sum + 0 }'
}

# Becomes the program, under its time limit. What a shell starts in the background ignores INT and
# QUIT, which tests send.
become() {
	set -- env --default-signal=INT,QUIT "$@"
	if [ "$TEST_JOBS" -gt 1 ]; then
		# shellcheck disable=SC2016 # for the inner shell
		set -- unshare -n sh -c 'ip link set lo up && exec "$@"' sh "$@"
	fi
	exec timeout -k 10 "$PROGRAM_SECONDS" "$@"
}

# A shell sees signals while it waits for a process in the background, not for one in front.
run() {
	running=1
	# shellcheck disable=SC2086 # the wrapper is a list of words
	become $wrapper "$1" </dev/null >"$said" 2>&1 &
	wait $!
	status=$?
	running=
	echo "status $status" >>"$said"
}

# Sums up what a program has said.
report() {
	case $program in
	*.sh)
		skip=$(lines '^ok .* # SKIP')
		ok=$(($(lines '^ok ') - skip))
		bad=$(lines '^not ok ')
		;;
	*)
		skip=$(summed_up SKIPPED)
		ok=$(lines '^\[       OK \] ')
		bad=$(summed_up FAILED)
		;;
	esac
	# A crash, a time-out, a leak found at exit, or a program that tested nothing.
	[ "$bad" -eq 0 ] && [ "$status" -ne 0 ] && bad=1
	[ $((ok + bad + skip)) -eq 0 ] && bad=1

	echo "$ok $bad $skip" >>"$folder/totals"
	echo "${program#"$here"}: $ok passed, $bad failed, $skip skipped"
	if [ "$bad" -ne 0 ]; then
		echo "--- it ended with status $status (124: ran past $PROGRAM_SECONDS s), and said:"
		cat "$said"
		echo "---"
	elif [ "$skip" -ne 0 ]; then
		grep -E '^ok .* # SKIP|^skipped: |^\[  SKIPPED \] [a-z]' "$said" | sort -u
	fi
}

# Runs those of the programs that no other lane has taken. What a program says is in $results under
# the name of its folder and its own ("unit-test_x"), and ends with a line "status N".
lane() {
	running=
	trap '[ -z "$running" ] || { kill $!; wait $!; }; exit 143' TERM HUP
	for program; do
		place=${program%/*}
		place=${place##*/}-${program##*/}
		said=$results/$place
		if mkdir "$folder/$place" 2>/dev/null; then
			run "$program"
			{
				flock 9
				report
			} 9>"$folder/lock"
		fi
	done
}

if [ "$TEST_JOBS" -gt 1 ] && ! unshare -n ip link set lo up 2>/dev/null; then
	echo "one program at a time, as no network can be made for each here"
	TEST_JOBS=1
fi

programs=$(wanted "$USHER_BUILD"/tests/unit/test_*)
if [ -z "$wrapper" ]; then
	programs="$(wanted tests/integration/test_*.sh "$USHER_BUILD"/tests/integration/test_*) $programs"
fi
first='' others=''
for program in $programs; do
	if is_among "$program" "$FIRST"; then
		first="$first $program"
	else
		others="$others $program"
	fi
done
# shellcheck disable=SC2086 # lists of programs
set -- $first $others

touch "$folder/totals"
for _ in $(seq "$TEST_JOBS"); do
	lane "$@" &
	lanes="$lanes $!"
done
wait

sum() {
	awk -v column="$1" '{ sum += $column } END { print sum + 0 }' "$folder/totals"
}
passed=$(sum 1) failed=$(sum 2) skipped=$(sum 3)
if [ "$(wc -l <"$folder/totals")" -ne $# ]; then
	echo "not every program has run"
	failed=$((failed + 1))
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
