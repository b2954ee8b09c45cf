# From points.json to SCALING.md: how the cost of one more thing changes as there are more of them.

def rounded($digits): if . == null then "" else
	pow(10; $digits) as $p | (. * $p | round) / $p | tostring end;

def row: "| \(.n) | \(.message.server_us | rounded(1)) | \(.message.supervisor_us | rounded(2)) | \(
	.connection.server_us | rounded(1)) | \(.connection.supervisor_us | rounded(2)) | \(
	.workers_kib) | \(.supervisor_kib) | \(.start_ms) | \(.count_ms | rounded(1)) | \(
	if .message.disturbed or .connection.disturbed then "d" else "" end) |";

# Connections come to a server that runs, the others are there from the start.
def workers_kib: if .axis == "connections" then .workers_grew_kib else .workers_kib end;
def supervisor_kib: if .axis == "connections" then .supervisor_grew_kib else .supervisor_kib end;

# Between the two ends of the axis: what one more takes, and what became of the costs.
def slope:
	sort_by(.n) | .[0] as $few | .[-1] as $many | ($many.n - $few.n) as $n
	| if $n == 0 then empty else
		"One more takes \((($many | workers_kib) - ($few | workers_kib)) * 1024 / $n
			| rounded(0)) bytes in all workers together, \(
		(($many | supervisor_kib) - ($few | supervisor_kib)) * 1024 / $n
			| rounded(0)) in the supervisor. From \($few.n) to \($many.n) a message costs \(
		$many.message.server_us / $few.message.server_us | rounded(2)) times as much, a connection \(
		$many.connection.server_us / $few.connection.server_us | rounded(2)) times." end;

def table:
	"", "## \(.[0].mode), \(.[0].axis)", "",
	"| \(.[0].axis) | message, us | of it supervisor | connection, us | of it supervisor | workers KiB | supervisor KiB | ready ms | count ms | |",
	"|---|---|---|---|---|---|---|---|---|---|",
	(sort_by(.n)[] | row), "", slope;

"# What usher costs as it grows",
"",
"Made by `make bench-scaling`, load and server on one processor: 4000 messages a second on 16 connections, then 1000 connections a second, while so many others are held (connections), with so many workers, or on the last of so many listeners. Times are processor time of the server's processes; KiB are PSS; count is `usherctl connections --json`, start of the program included; d: something else took more than a quarter of a processor meanwhile.",
(. as $all | ["connections", "workers", "listeners"][] as $axis
	| ($all | map(.mode) | unique)[] as $mode
	| $all | map(select(.axis == $axis and .mode == $mode)) | if length > 0 then table else empty end)
