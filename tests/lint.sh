#!/bin/sh
# Reads the sources without running them. Each tool looks at every file, as many at once as there
# are processors; the complaints of one that is not clean are shown. Ends with one line: N passed,
# N failed, 0 skipped.
#
#   tests/lint.sh "C FILES" "MANUALS" "SCRIPTS" COMPILER-FLAG...
set -u

c_files=$1 manuals=$2 scripts=$3
shift 3
sources=$(echo "$c_files" | tr ' ' '\n' | grep '\.c$')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
passed=0 failed=0

# Runs a command once for each word on standard input, in which {} stands for the word. Each run
# writes to a file of its own, so that what two say at once does not mix.
each() {
	mkdir "$folder/said"
	# shellcheck disable=SC2016 # for the inner shell
	tr -s ' ' '\n' | sed '/^$/d' |
		xargs -P "$(nproc)" -I '{}' sh -c '"$@" >"$(mktemp "$0/XXXXXX")" 2>&1' "$folder/said" "$@"
	status=$?
	find "$folder/said" -type f -exec cat '{}' + | grep -vE '^[0-9]+ warnings? generated\.$'
	rm -r "$folder/said"
	return $status
}

# The path that led the analyzer there is left out: clang-tidy FILE -- FLAGS shows it.
tidy() {
	echo "$sources" | each clang-tidy --quiet '{}' -- "$@" >"$folder/tidy"
	status=$?
	grep -E ': (error|warning): ' "$folder/tidy" | sort -u
	return $status
}

manual() {
	echo "$manuals" | each mandoc -T lint -W warning '{}'
}

check() {
	name=$1
	shift
	if "$@" >"$folder/complaints" 2>&1; then
		passed=$((passed + 1))
		echo "$name: clean"
	else
		failed=$((failed + 1))
		echo "$name: NOT CLEAN"
		cat "$folder/complaints"
	fi
}

# cppcheck reads no system headers unless told, and does not know that a cleanup attribute frees.
# shellcheck disable=SC2086 # lists of names
possible_bugs() {
	queue=$(echo '#include <sys/queue.h>' | clang -E -x c - | sed -n 's/^# 1 "\(.*queue.h\)".*/\1/p')
	cppcheck -q -j "$(nproc)" --std=c11 --enable=warning,portability,performance \
		--inline-suppr --suppress=varFuncNullUB --suppress=memleak --error-exitcode=1 -I. \
		--include="$queue" $sources
}

# shellcheck disable=SC2086
{
	check clang-format clang-format --dry-run -Werror $c_files
	check clang-tidy tidy "$@"
	check cppcheck possible_bugs
	check mandoc manual
	check shellcheck shellcheck -x $scripts
}

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
