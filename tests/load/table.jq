# From results.json to RESULTS.md.

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
		.switches_per_operation | rounded(2)) | \(.failed) | \(.n)\(if .bottleneck then " b" else "" end) |";

def work_table: .mode as $mode
	| "| server | \(unit($mode)) | of the limit | per CPU second | CPU us/op | of the limit | p50 / p99 us | p99 of the limit | churn p99 us | switches/op | failed | n |",
	"|---|---|---|---|---|---|---|---|---|---|---|---|",
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

# What servers of this mode are compared by: at a given rate it is the latency.
def figure($mode): if $mode == "paced" or $mode == "mixed" then .latency_us.p99
	else .per_second.median end;

# "usher-shared: 1.74 times node-none, 2.1 times node-rr"
def peers: .mode as $mode | .servers as $all
	| [$all | keys[] | select(startswith("limit-") or startswith("usher-") | not)] as $peers
	| if ($peers | length) == 0 then empty else
		$all | to_entries[] | select(.key | startswith("usher-"))
		| (.value | figure($mode)) as $own
		| "\(.key)\(if $mode == "paced" or $mode == "mixed" then ", p99" else "" end): \([
			$peers[] | "\($own / ($all[.] | figure($mode)) | rounded(2)) times \(.)"]
			| join(", "))" end;

def cell:
	"", "## \(.cell): \(.mode // "nothing measured"), \(.cpus) CPU\(if .cpus == "two" then "s" else "" end), \(
		.workers) worker\(if .workers > 1 then "s" else "" end)\(
		if .state then ", machine \(.state)" else "" end)", "",
	if (.servers | length) == 0 then "No sample counted."
	elif .mode == "idle" then idle_table
	else work_table, "", peers end,
	if .other_state > 0 then "", "\(.other_state) samples were taken in the other state and are left out." else empty end;

"# Speed of usher beside its peers and the limit",
"",
"Made by `make bench`: \(.settings.rounds) rounds of \(.settings.seconds) s, servers by turns. Median [lowest-highest].",
"The limit is a bare epoll program in the same accept mode; CPU us/op is that of the server's processes alone.",
"\"Per CPU second\" is the rate for each second of processor that load and server had, as a part of the limit's: what others took of the machine does not touch it.",
"\"b\" behind n: the load generator was the limit in some sample.",
"",
"- Machine: \(.machine.cpu), \(.machine.cpus) CPUs, \(.machine.system), \(.machine.kernel), \(.machine.date)",
"- Wake-up between two CPUs, there and back: \(.wakeup_us.median | rounded(1)) us [\(.wakeup_us.min | rounded(1))-\(.wakeup_us.max | rounded(1))]",
(.machine.versions | to_entries[] | "- \(.key): \(.value)"),
(.cells[] | cell),
"",
"## Rejected samples: \(.rejected | length)",
"",
(.rejected[] | "- \(.cell), \(.server), round \(.round): \(.fault)")
