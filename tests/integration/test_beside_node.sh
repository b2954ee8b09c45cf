#!/bin/sh
# The same clients do the same to a cluster of Node.js and to usher (tests/cluster/compare.js), and
# usher does what it is to do. What it says begins with a table of both; `make compare` shows that.
set -u

here=$(dirname "$0")/../cluster

if command -v node >/dev/null; then
	exec node "$here/compare.js"
fi
echo "ok usher_beside_node # SKIP node is not installed (Debian: nodejs)"
