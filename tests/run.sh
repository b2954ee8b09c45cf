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
set -u

PROGRAM_SECONDS=${PROGRAM_SECONDS:-300}

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
trap 'exit 143' TERM
trap 'exit 130' INT
names=$*
passed=0 failed=0 skipped=0

# The programs among the arguments that are wanted, one in a line.
wanted() {
	for program; do
		if [ ! -f "$program" ] || [ ! -x "$program" ]; then
			continue
		fi
		case " ${names:-${program##*/}} " in *" ${program##*/} "*) echo "$program" ;; esac
	done
}

lines() {
	grep -c "$1" "$said"
}

# A cmocka program sums up once for each group of tests.
summed_up() {
	sed -n "s/^\[ *$1 *\] \([0-9][0-9]*\) test.*/\1/p" "$said" | awk '{ sum += $1 } END { print sum + 0 }'
}

# What a program says is in $results under the name of its folder and its own ("unit-test_x"), and
# ends with a line "status N".
run() {
	program=$1
	folder=${program%/*}
	said=$results/${folder##*/}-${program##*/}
	# shellcheck disable=SC2086 # the wrapper is a list of words
	timeout -k 10 "$PROGRAM_SECONDS" $wrapper "$program" </dev/null >"$said" 2>&1
	status=$?
	echo "status $status" >>"$said"

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

	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	echo "${program#"$here"}: $ok passed, $bad failed, $skip skipped"
	if [ "$bad" -ne 0 ]; then
		echo "--- it ended with status $status (124: ran past $PROGRAM_SECONDS s), and said:"
		cat "$said"
		echo "---"
	elif [ "$skip" -ne 0 ]; then
		grep -E '^ok .* # SKIP|^skipped: |^\[  SKIPPED \] [a-z]' "$said" | sort -u
	fi
}

# One after the other: a port that one test has just let go must not be taken by another.
for program in $(wanted "$USHER_BUILD"/tests/unit/test_*); do
	run "$program"
done
if [ -z "$wrapper" ]; then
	for program in $(wanted tests/integration/test_*.sh "$USHER_BUILD"/tests/integration/test_*); do
		run "$program"
	done
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
