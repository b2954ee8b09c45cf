# shellcheck shell=sh
# The stage of a measurement, for the scripts beside this one to read in (with their own arguments):
# a network and a folder of its own, the processors, servers that start and end. It may execute the
# script again, once the network is there.
#
# Sets: folder (removed at the end), first and second (processors), cpus, port by next_port.
# Reads: cpus (where start puts a server), scheduling (a command before it, to give it another policy),
# holder, server and upstream (pids that end with the script).

# Its own network: every port is free, nothing from outside comes in, and the settings are ours.
# Without the right to one, the machine's own.
set_up_network() {
	ip link set lo up
	# The default may be bbr, which paces even the loopback.
	ip route change local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1 \
		congctl cubic || echo "bench: the congestion control is the machine's" >&2
	sysctl -qw net.ipv4.ip_local_port_range='32768 65535'
}

export BENCH_NETWORK
case ${BENCH_NETWORK:-} in
'')
	own=
	[ "$(id -u)" -eq 0 ] || own=-r
	if unshare $own -n true 2>/dev/null; then
		BENCH_NETWORK=new BENCH_UID=$(id -u) BENCH_GID=$(id -g) exec unshare $own -n "$0" "$@"
	fi
	echo "bench: no network of its own (unshare failed): ports from 20000 on are used" >&2
	BENCH_NETWORK=host
	;;
new)
	set_up_network
	BENCH_NETWORK=own
	# An ordinary user was root in there for so long, and is to be no root for the servers.
	if [ "$BENCH_UID" -ne 0 ]; then
		exec unshare --map-user="$BENCH_UID" --map-group="$BENCH_GID" "$0" "$@"
	fi
	;;
esac

folder=$(mktemp -d)
holder=   # pid of the one that holds connections to it
server=   # pid of the server under test
upstream= # pid of the echo server behind a proxy
clean_up() {
	stop_servers
	rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# start VARIABLE COMMAND...: in the background on $cpus; it ends with this script in any case.
start() {
	variable=$1
	shift
	: >"$folder/$variable.log"
	# shellcheck disable=SC2086 # words
	setpriv --pdeathsig KILL taskset -c "$cpus" $scheduling "$@" >>"$folder/$variable.log" 2>&1 &
	eval "$variable=$!"
}

# Asks it to end, and waits for that.
stop() {
	[ -n "$1" ] || return 0
	kill "$1" 2>/dev/null
	timeout 10 tail -s 0.02 --pid="$1" -f /dev/null || kill -9 "$1"
	wait "$1" 2>/dev/null
}

# The holder first: a server that ends waits for its connections.
stop_servers() {
	stop "$holder"
	holder=
	stop "$server"
	server=
	stop "$upstream"
	upstream=
}

# keep_results FOLDER BUILD FILE MISSING: the parts that a run left in FOLDER, if nothing is MISSING for
# a whole one. What the last whole run of each script said makes one FILE, with all summaries first.
keep_results() {
	if [ -n "$4" ]; then
		echo "not kept in $3: $(echo "$4" | paste -sd ';' | sed 's/;/; /g')" >&2
		return
	fi
	mkdir -p "$1/whole"
	cp "$1/summary.md" "$1/details.md" "$1/whole"
	for part in summary details; do
		for each in bench scaling; do
			[ ! -e "$2/$each/whole/$part.md" ] || cat "$2/$each/whole/$part.md"
		done
	done >"$3"
	echo "kept in $3" >&2
}

# A new one for each server: the last one may still be about to close its own.
port=20000
next_port() {
	port=$((port + 1))
}

processors=$(taskset -pc $$ | sed 's/.*: //' | tr ',' '\n' |
	awk -F- '{ for (i = $1; i <= ($2 == "" ? $1 : $2); i++) print i }')
first=$(echo "$processors" | sed -n 1p)
second=$(echo "$processors" | sed -n 2p)
second=${second:-$first}
cpus=$first
scheduling=
