#!/bin/sh
# Runs the tests that bear a requirement's id and prints which test shows what: id, test, result.
# Fails when an id has no test or a test fails.
#
#   tests/conformance/run.sh [--last] BUILD
#
# A test bears the ids that stand in the comment directly above its function. "ids" lists those that
# must be shown, "not_applicable" those that cannot be, each with its reason. ER-1 and those after
# it are the rows of the table of errors from top to bottom, ER-0 is what is said of all of them.
# --last runs nothing: it takes the results that the last tests/run.sh of that build has left.
set -u

last=
if [ "$1" = --last ]; then
	last=1
	shift
fi
build=$(cd "$1" && pwd) || exit 66
cd "$(dirname "$0")/../.." || exit 71
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# One line for each id of each test: ID PROGRAM TEST, the program as "unit/test_addr".
# shellcheck disable=SC2016 # for awk
awk '
	FNR == NR { section[substr($1, 1, 2)] = 1; next }
	FNR == 1 { comment = ""; open = 0 }
	/^\/\*/ { comment = ""; open = 1 }
	open {
		comment = comment " " $0
		if (/\*\//)
			open = 0
		next
	}
	/^static void [a-z0-9_]+\(void \*\*state\)$/ {
		program = FILENAME
		gsub(/^tests\/|\.c$/, "", program)
		name = $3
		sub(/\(.*/, "", name)
		while (match(comment, /[A-Z]+-[0-9]+/)) {
			id = substr(comment, RSTART, RLENGTH)
			comment = substr(comment, RSTART + RLENGTH)
			if (substr(id, 1, 2) in section && id ~ /^..-/)
				print id, program, name
		}
	}
	{ comment = "" }
' tests/conformance/ids tests/unit/test_*.c tests/integration/test_*.c >"$folder/tests"

programs=$(awk '{ print $2 }' "$folder/tests" | sort -u)
# Its exit status is also that of tests without an id; those are not judged here.
# shellcheck disable=SC2046 # a list of names
[ -n "$last" ] || tests/run.sh "$build" $(echo "$programs" | sed 's/.*\///')

# One line for each result: PROGRAM TEST WORD. One that is older than its program is of no use.
for program in $programs; do
	binary=$build/tests/$program
	result=$build/results/$(echo "$program" | tr / -)
	if [ ! -e "$result" ] || [ -n "$(find "$binary" -newer "$result")" ]; then
		echo "$program has no new result in $build/results" >&2
		continue
	fi
	# A crash, a time-out, a leak found at exit.
	if [ "$(tail -n 1 "$result")" != "status 0" ] && ! grep -q '^\[  FAILED  \]' "$result"; then
		echo "$program - FAILED"
	fi
	sed -n -e "s,^\[       OK \] \([a-z0-9_]*\)$,$program \1 ok,p" \
		-e "s,^\[  SKIPPED \] \([a-z0-9_]*\)$,$program \1 skipped,p" \
		-e "s,^\[  \(FAILED\|ERROR \)  \] \([a-z0-9_]*\)$,$program \2 FAILED,p" "$result"
done >"$folder/results"

# shellcheck disable=SC2016 # for awk
awk '
	function say(what) { complaints = complaints "\n" what }

	FILENAME == "tests/conformance/ids" { ids[++count] = $1; known[$1] = 1; next }
	FILENAME == "tests/conformance/not_applicable" {
		reason[$1] = substr($0, length($1) + 2)
		if (!($1 in known) || reason[$1] == "")
			say("not_applicable: " $1 " is no id, or has no reason")
		next
	}
	FILENAME ~ /results$/ && $2 == "-" { say($1 " did not end well"); next }
	FILENAME ~ /results$/ {
		if (word[$1 " " $2] != "FAILED")
			word[$1 " " $2] = $3
		next
	}
	{
		if (!($1 in known))
			say($1 " in " $2 ": there is no such id")
		test = $2 " " $3
		if (seen[$1 " " test]++)
			next
		shown[$1] = shown[$1] test "\n"
		if (length(test) > width)
			width = length(test)
	}
	END {
		format = "%-6s %-" width "s %s\n"
		printf format, "id", "test", "result"
		for (i = 1; i <= count; i++) {
			id = ids[i]
			if (id in reason && id in shown)
				say(id " is said not to apply, but has a test")
			if (id in reason) {
				apart++
			} else if (!(id in shown)) {
				missing = missing " " id
			}

			n = split(shown[id], tests, "\n") - 1
			for (j = 1; j <= n; j++) {
				result = word[tests[j]]
				if (result == "")
					result = "NO RESULT"
				printf format, id, tests[j], result
				if (result != "ok" && result != "skipped")
					failed = failed "\n" id " " tests[j]
			}
			total += n > 0
		}

		print "\nnot applicable:"
		for (i = 1; i <= count; i++)
			if (ids[i] in reason)
				printf "%-6s %s\n", ids[i], reason[ids[i]]
		print "\nwithout a test:" (missing == "" ? " none" : missing)
		print "failed:" (failed == "" ? " none" : failed)
		if (complaints != "")
			print "wrong:" complaints
		printf "\n%d ids: %d with tests, %d not applicable\n", count, total, apart
		exit missing != "" || failed != "" || complaints != ""
	}
' tests/conformance/ids tests/conformance/not_applicable "$folder/results" "$folder/tests"
