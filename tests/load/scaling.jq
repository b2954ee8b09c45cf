# From points.json to a $part of SCALING.md (summary, details): how the cost of one more thing changes as there are more of them.

def rounded($digits): if . == null then "" else
	pow(10; $digits) as $p | (. * $p | round) / $p | tostring end;

def median: sort | if length % 2 == 1 then .[(length - 1) / 2]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;

# "4 [3, 6] d1": the median of these, their range, and how many of them were disturbed. Each is a value
# and whether it was disturbed.
def shown($digits): map(select(.value != null))
	| (map(select(.disturbed)) | length) as $disturbed
	| if . == [] then "" else map(.value) | "\(median | rounded($digits))\(
		if length > 1 then " [\(min | rounded($digits)), \(max | rounded($digits))]" else "" end)\(
		if $disturbed > 0 then " d\($disturbed)" else "" end)" end;

def column(f; g; $digits): map({value: f, disturbed: g}) | shown($digits);
def column(f; $digits): column(f; false; $digits);

def of_message(f; $digits): column(.message | f; .message.disturbed; $digits);
def of_connection(f; $digits): column(.connection | f; .connection.disturbed; $digits);

def row: "| \(.[0].n) | \(of_message(.server_us; 1)) | \(of_message(.supervisor_us; 2)) | \(
	of_connection(.server_us; 1)) | \(of_connection(.supervisor_us; 2)) | \(
	column(.workers_kib; 0)) | \(column(.supervisor_kib; 0)) | \(column(.start_ms; 0)) | \(
	column(.count_ms; 1)) |";

# Connections come to a server that runs, the others are there from the start.
def workers_kib: if .axis == "connections" then .workers_grew_kib else .workers_kib end;
def supervisor_kib: if .axis == "connections" then .supervisor_grew_kib else .supervisor_kib end;

# Between the two ends of the axis, in each round: what one more takes, and what became of the costs.
def slope:
	(map(.n) | min) as $few | (map(.n) | max) as $many
	| .[0] as {$mode, $axis}
	| [group_by(.round)[] | {few: .[] | select(.n == $few), many: .[] | select(.n == $many)}]
	| def bytes(f): column(((.many | f) - (.few | f)) * 1024 / ($many - $few); 0);
	def times(f): column(if (.few | f.server_us) > 0 then (.many | f.server_us) / (.few | f.server_us) else null end;
		[.few, .many | f.disturbed] | any; 2) | if . == "" then . else "x\(.)" end;
	if $few == $many then empty else
		"| \($mode) | \($axis) | \($few) to \($many) | \(bytes(workers_kib)) | \(
			bytes(supervisor_kib)) | \(times(.message)) | \(times(.connection)) | \(
			map(.few) | of_connection(.supervisor_us; 2)) to \(
			map(.many) | of_connection(.supervisor_us; 2)) |" end;

def table:
	"", "### \(.[0].mode), \(.[0].axis)", "",
	"| \(.[0].axis) | message, us | of it supervisor | connection, us | of it supervisor | workers KiB | supervisor KiB | ready ms | count ms |",
	"|---|---|---|---|---|---|---|---|---|",
	(group_by(.n)[] | row);

# All points of an axis in one mode, by turns.
def axes: . as $all | ["connections", "workers", "listeners"][] as $axis
	| ($all | map(.mode) | unique)[] as $mode
	| $all | map(select(.axis == $axis and .mode == $mode)) | select(length > 0);

def notation: "Median [lowest, highest]; d and a number: in so many of the samples something else took more than a quarter of a processor meanwhile.";

if $part == "summary" then
"## What usher costs as it grows",
"",
"Made by `make bench-scaling`, load and server on one processor: 4000 messages a second on 16 connections, then 1000 connections a second, while so many others are held (connections), with so many workers, or on the last of so many listeners. Bytes are what one more of them takes, by PSS; times are processor time of all the server's processes, with many as a part of that with few, within each of \(map(.round) | max) rounds.",
notation,
"",
"| mode | of what | from, to | bytes in the workers | bytes in the supervisor | message | connection | of it supervisor, us |",
"|---|---|---|---|---|---|---|---|",
(axes | slope),
""
else
"",
"## Details of what usher costs as it grows",
"",
"Times are processor time; KiB are PSS; count is `usherctl connections --json`, start of the program included. Between the fewest and the most of each there is one sample.",
notation,
(axes | table)
end
