#!/bin/sh
# Prints what the library costs: bytes of an idle connection, allocations and system calls of an
# echo. Fails if one of the limits beside the numbers is exceeded.
#
#   tests/bench/net_cost.sh BUILD
set -u

program=$1/tests/bench/net_cost
count=$(mktemp)
trap 'rm -f "$count"' EXIT

"$program" || exit 1

# Calls of the server, which is the process that strace starts, in so many rounds.
calls() {
	strace -c -U name,calls -o "$count" "$program" echo "$1" || exit 1
	awk '$1 == "total" { print $2 }' "$count"
}

if ! command -v strace >/dev/null; then
	echo "system calls per round trip: not counted, there is no strace"
	exit 0
fi
few=$(calls 1000) || exit 1
many=$(calls 3000) || exit 1
awk -v few="$few" -v many="$many" 'BEGIN {
	each = (many - few) / 2000
	printf "%-46s %10.2f   at most 3\n", "system calls per round trip", each
	exit each > 3.005
}'
