# From results.json to one panel of the plot ($panel: one, two, proxy): a row for each cell, a column
# for each server, the rate as a part of the best limit's in that cell.

def panel: if .kind | endswith("proxy") then "proxy" elif .cpus == "one" then "one" else "two" end;

def limits: [.servers | to_entries[] | select(.key | startswith("limit-")) | .value.per_second.median];

(.cells | map(select(panel == $panel and limits != []
	and (.settings.rate // 0) == 0 and ([.mode] | inside(["echo", "churn", "stream"]))))) as $cells
| ([$cells[].servers | keys[]] | unique) as $names
| (["cell"] + $names | join(" ")),
($cells[]
	| (limits | max) as $best
	| .servers as $all
	| [.cell] + [$names[] | if $all[.] == null then "nan"
		else $all[.].per_second.median / $best | tostring end]
	| join(" "))
