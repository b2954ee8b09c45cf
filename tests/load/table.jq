# From results.json to a $part of RESULTS.md: summary, details.

def rounded($digits): if . == null then "" else
	pow(10; $digits) as $p | (. * $p | round) / $p | tostring end;

def count: if . == null then "" elif . >= 1e6 then "\(. / 1e6 | rounded(2))M"
	elif . >= 1e4 then "\(. / 1e3 | rounded(1))k" else rounded(0) end;

def times: if . == null then "" else "x\(rounded(2))" end;

def rate($mode): if $mode == "stream" then .mib_per_second else .per_second end
	| "\(.median | count) [\(.min | count)-\(.max | count)]";

def unit($mode): if $mode == "stream" then "MiB/s" elif $mode == "churn" then "connections/s"
	else "messages/s" end;

def latency: if .latency_us.p50 == 0 then "" else
	"\(.latency_us.p50 | rounded(1)) / \(.latency_us.p99 | rounded(1))" end;

def work_row($mode): .key as $name | .value
	| "| \($name) | \(rate($mode)) | \(.rate_ratio | times) | \(
		.per_cpu_ratio | times) | \(.cpu_us_per_operation.median
		| rounded(2)) | \(.cpu_ratio | times) | \(latency) | \(.p99_ratio | times) | \(
		.churn_p99_us | rounded(1)) | \(
		.switches_per_operation | rounded(2)) | \(if $mode == "churn" then ""
		else .connections_of_workers | map(tostring) | join(" ") end) | \(.failed) | \(.n)\(if .bottleneck then " b" else "" end) |";

def work_table: .mode as $mode
	| "| server | \(unit($mode)) | of the limit | per CPU second | CPU us/op | of the limit | p50 / p99 us | p99 of the limit | churn p99 us | switches/op | connections of the workers | failed | n |",
	"|---|---|---|---|---|---|---|---|---|---|---|---|---|",
	(.servers | to_entries[] | work_row($mode));

def idle_table:
	"| server | bytes a connection | MiB before | opened a second | connections of the workers | most to least | n |",
	"|---|---|---|---|---|---|---|",
	(.servers | to_entries[] | .key as $name | .value
		| "| \($name) | \(.pss_per_connection | "\(.median | rounded(0)) [\(.min
			| rounded(0))-\(.max | rounded(0))]") | \(.pss_before / 1048576
			| rounded(1)) | \(.open_per_second | count) | \(
			.connections_of_workers | map(tostring) | join(" ")) | \(
			.most_to_least | if . == null then "-" else rounded(2) end) | \(.n) |");

# What servers of a cell are compared by: at a given rate it is the latency.
def paced: (.settings.rate // 0) > 0;

def figure($paced): if $paced then .latency_us.p99 else .per_second.median end;

# "usher-shared: 1.74 times node-none, 2.1 times node-rr"
def peers: paced as $paced | .servers as $all
	| [$all | keys[] | select(startswith("limit-") or startswith("usher-") | not)] as $peers
	| if ($peers | length) == 0 then empty else
		$all | to_entries[] | select(.key | startswith("usher-"))
		| (.value | figure($paced)) as $own
		| "\(.key)\(if $paced then ", p99" else "" end): \([
			$peers[] | . as $peer | ($all[.] | figure($paced)) | select(. != null and . > 0)
			| "\($own / . | rounded(2)) times \($peer)"]
			| join(", "))" end;

def cpus: {one: "one CPU", two: "two CPUs", batch: "two CPUs, servers in SCHED_BATCH",
	apart: "load and servers on a CPU each"}[.cpus];

# "echo, 64 bytes, 64 connections, one CPU"
def work: [.mode // "nothing measured",
	(if .kind == "unix" then "Unix path" elif .kind | endswith("proxy") then "proxy"
		elif .kind == "kill" then "a worker is killed" else empty end),
	(.settings | (if .size then "\(.size) bytes" else empty end),
		(if .connections then "\(.connections) connection\(if .connections > 1 then "s" else "" end)"
			else empty end),
		(if .rate and .rate > 0 then "\(.rate) a second" else empty end),
		(if .processes and .processes > 1 then "load of \(.processes) processes" else empty end)),
	(if .workers == 2 then empty else "\(.workers) worker\(if .workers > 1 then "s" else "" end)" end),
	cpus] | join(", ");

def cell:
	"", "### \(.cell): \(work)\(if .state then ", machine \(.state)" else "" end)", "",
	if (.servers | length) == 0 then "No sample counted."
	elif .mode == "idle" then idle_table
	else work_table, "", peers end,
	if .other_state > 0 then "", "\(.other_state) samples were taken in the other state and are left out." else empty end;

# --- the summary

def figure_names: {rate: "rate", cpu: "CPU time of an operation", p99: "p99 of latency",
	bytes: "bytes a connection", switches: "context switches an operation",
	spread: "connections, most to least"};

def uncounted($own): map("\(if .server == $own then "" else "\(.server): " end)\(
		[.why | to_entries[] | select(.value > 0) | "\(.value) \(.key | gsub("_"; " "))"] | join(", "))")
	| if . == [] then "" else " (\(join("; ")))" end;

# Few samples are said, since they may be chance.
def reached: "\(.server | ltrimstr("usher-")) \(
		if .value != null then .value | rounded(if . < 10 then 3 else 0 end)
		elif .failed then "all samples failed"
		elif .met == false then "one has none" else "not measured\(.server as $own | .uncounted | uncounted($own))" end)\(
		if .n != null and .n < 3 then " (n \(.n))" else "" end)";

def target_row: "| \(.cell) | \(figure_names[.figure])\(if .of == null then ""
		elif .of == "limit" then " / the limit's" else " / \(.of)" end) | \(
		if .at_least then "at least" else "at most" end) \(.bound) | \(
		[.servers[] | if .met == false then "**\(reached)**" else reached end] | join(", ")) | \(
		if .met == null then "not known" elif .met then "met" else "**missed**" end) |";

def targets: if length == 0 then empty else
	"## Targets: \(map(select(.met)) | length) of \(length) met, \(
		map(select(.met == false)) | length) missed, \(map(select(.met == null)) | length) not known",
	"",
	"Each is a median of one run, as a part of another server's where one is named; a bold figure misses its target.",
	"",
	"| cell | figure | target | measured | |", "|---|---|---|---|---|", (.[] | target_row), "" end;

# The figure that a kind of load is about.
def headline($mode): if . == null then "-"
	elif $mode == "idle" then .pss_per_connection.median | rounded(0)
	elif $mode == "stream" then .mib_per_second.median | count
	else .per_second.median | count end;

def overview($cells; $columns):
	[.cells[] | select(.cell as $c | $cells | index($c)) | select(.servers != {})] as $rows
	| if $rows == [] then empty else
		"| work | unit | \($columns | map(.[1]) | join(" | ")) |",
		"|---|---|\($columns | map("---|") | join(""))",
		($rows[] | .mode as $mode | .servers as $all
			| "| \(work) | \(if $mode == "idle" then "bytes a connection" else unit($mode) end) | \(
				$columns | map($all[.[0]] | headline($mode)) | join(" | ")) |"),
		"" end;

def overviews:
	[overview(["echo-64", "echo-16k", "churn", "stream", "unix-echo-64", "unix-churn", "idle-10000"];
		[["limit-shared", "bare program"], ["usher-shared", "usher, shared"],
		["usher-reuse-port", "usher, reuse-port"], ["usher-round-robin", "usher, round-robin"],
		["node-none", "Node.js cluster, shared"], ["node-rr", "Node.js cluster, round-robin"]]),
	overview(["proxy-64", "proxy-16k", "proxy-churn", "proxy-stream"];
		[["limit-copy", "bare copy"], ["limit-splice", "bare splice"], ["usher-proxy", "usher"],
		["nginx", "nginx"], ["haproxy", "haproxy"], ["node-pipe", "Node.js, pipe()"]])]
	| if . == [] then empty else "## In short", "", .[] end;

# A line for each cell and cause; the numbers in it differ from sample to sample.
def rejected: group_by([.cell, .server])[]
	| "- \(.[0].cell), \(.[0].server), round\(
		map(.round) | unique | (if length > 1 then "s " else " " end) + (map(tostring) | join(", "))): \(.[0].fault)\(
		if length > 1 then ", and \(length - 1) more" else "" end)";

if $part == "summary" then
"# Speed of usher beside its peers and the limit",
"",
"Made by `make bench`: \(.settings.rounds) rounds, samples of \(.settings.seconds) s if cells.conf does not say otherwise, servers by turns, two workers each if not said otherwise. The limit is a bare epoll program in the same accept mode.",
"",
"- Machine: \(.machine.cpu), \(.machine.cpus) CPUs, \(.machine.system), \(.machine.kernel), \(.machine.date)",
"- A cache line from one CPU to the other and back: \(.states | map("\(.distance_ns.median | rounded(0)) ns (\(.state), \(.samples) samples)") | join(", "))",
"- Versions: \(.machine.versions | to_entries | map(.key as $key | if .value | ascii_downcase | contains($key)
	then .value else "\(.key) \(.value)" end) | join("; "))",
"- Samples: \(.samples), of which \(.rejected | length) were rejected; they are named at the end",
"",
overviews,
(.targets | targets)
else
"## Details",
"",
"Median [lowest-highest]. CPU us/op is that of the server's processes alone.",
"\"Per CPU second\" is the rate for each second of processor that load and server had, as a part of the limit's: what others took of the machine does not touch it.",
"\"b\" behind n: the load generator was the limit in some sample.",
(.cells[] | cell),
"",
"## Rejected samples: \(.rejected | length)",
"",
(.rejected | rejected)
end
