#!/bin/sh
# Runs the test programs of a build folder, one after the other, each under a time limit, and ends
# with one line: N passed, N failed, N skipped.
#
#   tests/run.sh [--valgrind] BUILD
set -u

wrapper=
kinds="unit integration examples"
if [ "$1" = --valgrind ]; then
	wrapper="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect --track-fds=no"
	kinds="unit"
	shift
fi
build=$1
passed=0 failed=0 skipped=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

count() {
	sed -n "$1" "$output" | awk '{ sum += $1 } END { print sum + 0 }'
}

for kind in $kinds; do
	for program in "$build/tests/$kind"/test_*; do
		[ -x "$program" ] && [ ! -d "$program" ] || continue
		case $program in *.o | *.d) continue ;; esac
		# shellcheck disable=SC2086 # the wrapper is a list of words
		USHER_BUILD=$build timeout -k 10 600 $wrapper "$program" >"$output" 2>&1
		status=$?
		ok=$(count 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p')
		bad=$(count 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p')
		skip=$(count 's/^\[  SKIPPED \] \([0-9]*\) test.*/\1/p')
		[ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
		passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
		echo "$program: $ok passed, $bad failed, $skip skipped"
		if [ "$status" -ne 0 ]; then
			echo "--- $program ended with status $status; what it said:"
			cat "$output"
			echo "---"
		elif [ "$skip" -ne 0 ]; then
			grep -i '^skipped:' "$output"
		fi
	done
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
