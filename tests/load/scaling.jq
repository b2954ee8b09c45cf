# From points.json to a $part of SCALING.md (summary, details): how the cost of one more thing changes as there are more of them.

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
	| def bytes(f): (($many | f) - ($few | f)) * 1024 / $n | rounded(0);
	def times(f): if ($few | f) > 0 then ($many | f) / ($few | f) | "x\(rounded(2))" else "" end;
	if $n == 0 then empty else
		"| \(.[0].mode) | \(.[0].axis) | \($few.n) to \($many.n) | \(bytes(workers_kib)) | \(
			bytes(supervisor_kib)) | \(times(.message.server_us)) | \(
			times(.connection.server_us)) | \($few.connection.supervisor_us
			| rounded(2)) to \($many.connection.supervisor_us | rounded(2)) |" end;

def table:
	"", "### \(.[0].mode), \(.[0].axis)", "",
	"| \(.[0].axis) | message, us | of it supervisor | connection, us | of it supervisor | workers KiB | supervisor KiB | ready ms | count ms | |",
	"|---|---|---|---|---|---|---|---|---|---|",
	(sort_by(.n)[] | row);

# All points of an axis in one mode, by turns.
def axes: . as $all | ["connections", "workers", "listeners"][] as $axis
	| ($all | map(.mode) | unique)[] as $mode
	| $all | map(select(.axis == $axis and .mode == $mode)) | select(length > 0);

if $part == "summary" then
"## What usher costs as it grows",
"",
"Made by `make bench-scaling`, load and server on one processor: 4000 messages a second on 16 connections, then 1000 connections a second, while so many others are held (connections), with so many workers, or on the last of so many listeners. Bytes are what one more of them takes, by PSS; times are processor time of all the server's processes, with many as a part of that with few. Each end is one sample; those that others disturbed have a d in the details.",
"",
"| mode | of what | from, to | bytes in the workers | bytes in the supervisor | message | connection | of it supervisor, us |",
"|---|---|---|---|---|---|---|---|",
(axes | slope),
""
else
"",
"## Details of what usher costs as it grows",
"",
"Times are processor time; KiB are PSS; count is `usherctl connections --json`, start of the program included; d: something else took more than a quarter of a processor meanwhile.",
(axes | table)
end
