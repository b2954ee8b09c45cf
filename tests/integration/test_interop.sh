#!/bin/sh
# Others who speak the same protocols talk to the library: Node.js itself, as server and as client
# (tests/interop/*.js), and nc through an echo server. INTEROP_MIB is how much goes through that
# one (64; 1024 takes half a minute).
set -u

build=$USHER_BUILD
here=$(dirname "$0")/../interop
INTEROP_MIB=${INTEROP_MIB:-64}
export INTEROP_MIB
status=0

skip() {
	echo "ok $1 # SKIP $2"
}

# The data, made of one block of random bytes with another number before each.
data() {
	number=0
	while [ "$number" -lt "$INTEROP_MIB" ]; do
		printf '%07d\n' "$number"
		cat "$folder/block"
		number=$((number + 1))
	done
}

# nc_echo NAME WHERE: an echo server, and what nc gets from it. WHERE: 0 for TCP, or a path.
nc_echo() {
	name=$1 where=$2
	mkfifo "$folder/input" "$folder/said"
	"$build/tests/interop/peer" server "$where" echo <"$folder/input" >"$folder/said" &
	server=$!
	exec 8>"$folder/input" 9<"$folder/said"
	read -r _ port <&9

	if [ "$where" = 0 ]; then
		set -- 127.0.0.1 "$port"
	else
		set -- -U "$where"
	fi
	wanted=$(data | sha256sum)
	got=$(data | timeout 120 nc -N "$@" | sha256sum)
	exec 8>&- 9<&-
	rm "$folder/input" "$folder/said"

	if ! wait "$server"; then
		echo "not ok $name: the server ended with a failure"
	elif [ "$got" != "$wanted" ]; then
		echo "not ok $name: what came back is not what was sent"
	else
		echo "ok $name"
		return
	fi
	status=1
}

if command -v node >/dev/null; then
	node "$here/conversations.js" || status=1
	node "$here/echo.js" || status=1
else
	skip conversations_with_node "node is not installed (Debian: nodejs)"
fi

# The one of OpenBSD; others have no -N, which passes the end of the input on.
if nc -h 2>&1 | grep -q OpenBSD; then
	folder=$(mktemp -d)
	trap 'rm -rf "$folder"' EXIT
	head -c 1048568 /dev/urandom >"$folder/block"
	nc_echo "echo_of_${INTEROP_MIB}_mib_to_nc_over_tcp" 0
	nc_echo "echo_of_${INTEROP_MIB}_mib_to_nc_over_a_path" "$folder/socket"
else
	skip conversations_with_nc "OpenBSD's nc is not installed (Debian: netcat-openbsd)"
fi
exit $status
