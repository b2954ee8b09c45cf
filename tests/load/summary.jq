# From all samples (an array), $machine and $targets (the text of targets.conf) to results.json:
# medians, ratios, which targets were met, what was rejected.
#
# Memory and spread do not depend on the machine's state. The machine is far when a cache line takes over 2.5 times the shortest of the run from one
# processor to the other. Cells of two processors are compared in one state only: the one that most of their samples were taken in.

# The server that each kind of server is held against: the bare one in the same accept mode.
def limit_of($kind; $server):
	if $kind == "stream-proxy" then "limit-splice"
	elif $kind == "proxy" then "limit-copy"
	elif ["usher-reuse-port", "limit-reuse-port"] | index($server) then "limit-reuse-port"
	elif ["usher-round-robin", "usher-least-connections", "usher-source-hash", "node-rr",
		"limit-pass"] | index($server) then "limit-pass"
	else "limit-shared" end;

def median: sort | if length == 0 then null
	elif length % 2 == 1 then .[(length - 1) / 2]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;

def spread: {median: median, min: min, max: max};

# Of the connections that were open at the end: the fullest worker against the emptiest.
def evenness: [.[] | .workers as $n | .sample.server.spread[:$n]
	| if .[-1] > 0 then .[0] / .[-1] else null end];

# Operations for each second that the load and the server had a processor: on one processor the rate
# without what others took of it meanwhile, and so the steadiest figure on a shared machine.
def per_cpu_second: .sample | .server.cpu_us_per_operation + .client.cpu_us_per_operation
	| if . > 0 then 1e6 / . else null end;

def failed: [.sample.failures // {} | .connect, .connection, .bytes, .unanswered | . // 0] | add;

def figures: {
	n: length,
	failed: (map(failed) | add),
	per_second: (map(.sample.result.per_second) | spread),
	per_cpu_second: (map(per_cpu_second) | if any(. == null) then null else median end),
	mib_per_second: (map(.sample.result.mib_per_second) | spread),
	latency_us: {
		p50: (map(.sample.result.latency_us.p50) | median),
		p99: (map(.sample.result.latency_us.p99) | median),
		p999: (map(.sample.result.latency_us.p999) | median)},
	churn_p99_us: (map(.sample.churn.latency_us.p99 // empty) | median),
	open_per_second: (map(.sample | .total.connections / .open_seconds) | median),
	cpu_us_per_operation: (map(.sample.server.cpu_us_per_operation) | spread),
	switches_per_operation: (map(.sample.server.switches_per_operation) | median),
	pss_before: (map(.sample.server.pss_before) | median),
	pss_per_connection: (map(.sample.server.pss_per_connection) | spread),
	connections_of_workers: (.[0] | .workers as $n | .sample.server.spread[:$n]),
	most_to_least: (evenness | if any(. == null) then null else median end),
	client_share: (map(.sample.client.cpu_share) | median),
	bottleneck: (map(.sample.client.bottleneck) | any)};

def ratio($a; $b): if $a == null or $b == null or $b == 0 then null else $a / $b end;

# How each server of a cell stands to its limit.
def against_limits:
	. as $cell | .servers |= with_entries(
		limit_of($cell.kind; .key) as $limit | ($cell.servers[$limit]) as $l
		| .value += {limit: $limit,
			rate_ratio: ratio(.value.per_second.median; $l.per_second.median),
			per_cpu_ratio: ratio(.value.per_cpu_second; $l.per_cpu_second),
			cpu_ratio: ratio(.value.cpu_us_per_operation.median;
				$l.cpu_us_per_operation.median),
			p99_ratio: ratio(.value.latency_us.p99; $l.latency_us.p99)});

# --- targets

def parse_targets: split("\n")[] | sub("#.*"; "") | [scan("\\S+")] | select(. != [])
	| if length != 5 then error("targets.conf: not five words: \(join(" "))") else . end
	| {cells: (.[0] / ","), servers: (.[1] / "," | map("usher-" + .)), figure: .[2],
		of: (if .[3] == "-" then null else .[3] end),
		at_least: (.[4] | startswith(">=")), bound: (.[4][2:] | tonumber)};

def figure($name): if $name == "rate" then .per_second.median
	elif $name == "cpu" then .cpu_us_per_operation.median
	elif $name == "p99" then .latency_us.p99
	elif $name == "bytes" then .pss_per_connection.median
	elif $name == "switches" then .switches_per_operation
	elif $name == "spread" then .most_to_least
	else error("targets.conf: no such figure: \($name)") end;

# What one server of a cell has reached. A spread without a number has a worker without connections; one
# that has failed in all its samples misses any target.
def reached($target; $name): . as $cell | .servers as $all | $all[$name] as $own
	| (if $target.of == "limit" then limit_of(.kind; $name) else $target.of end) as $of
	| ($own | figure($target.figure)) as $figure
	| (if $of then ratio($figure; $all[$of] | figure($target.figure)) else $figure end) as $value
	| [$name, $of // empty | {server: ., why: $cell.uncounted[.]} | select(.why)] as $uncounted
	| ($cell.uncounted[$name] | . and .disturbed + .in_other_state == 0) as $failed
	| {server: $name, value: $value, n: ([$own.n, if $of then $all[$of].n else empty end] | min),
		failed: $failed, uncounted: $uncounted,
		met: (if $value == null then
				(if $failed or ($target.figure == "spread" and $own) then false else null end)
			elif $target.at_least then $value >= $target.bound
			else $value <= $target.bound end)};

# A line for each cell: met, missed (by one server or more), or not known.
def against_targets: . as $cells
	| [$targets | parse_targets | . as $target | .cells[] as $name
		| ($cells[] | select(.cell == $name))
		| [reached($target; $target.servers[])] as $servers
		| {cell: .cell, figure: $target.figure, of: $target.of, at_least: $target.at_least,
			bound: $target.bound, servers: $servers,
			met: ($servers | map(.met) | if any(. == false) then false
				elif any(. == null) then null else true end)}];

# How many samples the server of these has that has fewest; null if there is none.
def fewest($servers): . as $samples
	| [$servers[] as $name | $samples | map(select(.server == $name)) | length] | min;

# In which state the samples of a cell can be compared best.
def best_state: . as $samples | (map(.server) | unique) as $servers
	| ["near", "far"] | map(. as $state | $samples | map(select(.state == $state))
		| {state: $state, rank: [fewest($servers), length]})
	| max_by(.rank).state;

# Of a server without a sample that counts: how many failed, were disturbed, or were good, but in the
# other state.
def why_uncounted: {failed: map(select(.status != 0)) | length,
	disturbed: map(select(.status == 0 and .fault != null)) | length,
	in_other_state: map(select(.fault == null)) | length};

def needs_one_state: .cpus != "one" and .sample.settings.mode != "idle";

(map(.distance_ns) | min) as $near
| map(. + {state: (if .distance_ns > 2.5 * $near then "far" else "near" end)})
| (map(.cell) | reduce .[] as $c ([]; if index($c) then . else . + [$c] end)) as $order
| . as $all
| {
	version: 1,
	machine: $machine[0],
	settings: {rounds: (env.BENCH_ROUNDS | tonumber), seconds: (env.BENCH_SECONDS | tonumber),
		foreign: (env.BENCH_FOREIGN | tonumber)},
	states: (group_by(.state) | map({state: .[0].state, samples: length, distance_ns: (map(.distance_ns) | spread)})),
	cells: [$order[] as $cell
		| ($all | map(select(.cell == $cell))) as $samples
		| ($samples | map(select(.fault == null))) as $good
		| (if any($good[]; needs_one_state) then $good | best_state else null end) as $state
		| ($good | map(select($state == null or .state == $state))) as $counted
		| {cell: $cell, cpus: $samples[0].cpus, workers: $samples[0].workers, kind: $samples[0].kind,
			mode: ($samples | map(.sample.settings.mode // empty) | .[0]),
			settings: ($samples | map(.sample.settings // empty) | .[0]
				| {connections, size, rate, processes}),
			state: $state,
			fewest: (($samples | map(select(.status == 0) | .server) | unique) as $able
				| $counted | fewest($able)),
			uncounted: ($samples | group_by(.server)
				| map(.[0].server as $server | select(all($counted[]; .server != $server))
					| {key: $server, value: why_uncounted}) | from_entries),
			other_state: (($good | length) - ($counted | length)),
			servers: ($counted | group_by(.server)
				| map({key: .[0].server, value: figures}) | from_entries)}
		| against_limits],
	samples: length,
	rejected: [$all[] | select(.fault != null) | {cell, server, round, fault}]
}
| .targets = (.cells | against_targets)
