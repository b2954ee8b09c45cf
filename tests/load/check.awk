# Finds what is wrong with cells.conf and targets.conf, which would drop out of the results without a
# word: each mistake as FILE:LINE: WHAT: WORD, and exit code 78 if there is one.
#
#   awk -f check.awk SERVERS cells.conf targets.conf
#
# SERVERS has a line for each kind of servers: the kind, then those that are measured there.

function complain(what, word) {
	printf "%s:%d: %s: %s\n", FILENAME, FNR, what, word >"/dev/stderr"
	wrong = 1
}

function check_server(cell, server) {
	if (!((kind_of[cell], server) in measured))
		complain("no server that cell " cell " measures", server)
}

function check_target(    cells, servers, n_cells, n_servers, i, j) {
	n_cells = split($1, cells, ",")
	n_servers = split($2, servers, ",")
	for (i = 1; i <= n_cells; i++) {
		if (!(cells[i] in kind_of)) {
			complain("no cell of cells.conf", cells[i])
			continue
		}
		for (j = 1; j <= n_servers; j++)
			check_server(cells[i], "usher-" servers[j])
		if ($4 != "-" && $4 != "limit")
			check_server(cells[i], $4)
	}
	if ($3 !~ /^(rate|cpu|p99|bytes|switches|spread)$/)
		complain("no figure", $3)
	# More is better of a rate alone.
	if ($5 !~ ($3 == "rate" ? "^>=[0-9.]+$" : "^<=[0-9.]+$"))
		complain("no bound for " $3, $5)
}

function check_cell() {
	if ($1 in kind_of)
		complain("a second cell of this name", $1)
	if ($2 !~ /^(one|two|batch|apart)$/)
		complain("no CPUS", $2)
	if ($3 !~ /^[1-9][0-9]*$/)
		complain("no number of WORKERS", $3)
	if (!($4 in kinds))
		complain("no SERVERS", $4)
	if ($5 !~ /^[1-9][0-9]*$/)
		complain("no number of SAMPLES", $5)
	kind_of[$1] = $4
}

FNR == 1 { file++ }
{ sub(/#.*/, "") }
NF == 0 { next }

file == 1 {
	kinds[$1]
	for (i = 2; i <= NF; i++)
		measured[$1, $i]
}
file == 2 { check_cell() }
file == 3 && NF != 5 { complain("not five words", $0) }
file == 3 && NF == 5 { check_target() }

END { exit wrong ? 78 : 0 }
