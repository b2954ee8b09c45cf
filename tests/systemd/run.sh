#!/bin/bash
# Tests usher.service and usher.socket under a systemd that runs, as root, in a machine to throw
# away: usher is installed in it. Ends with one line: N passed, N failed, N skipped.
#
#   tests/systemd/run.sh [TEST...]
#
# Anywhere else it says why and does nothing. A machine to throw away is one where SYSTEMD_SANDBOX
# or USHER_TEST_INSTALL is set. The programs must have been built: make all.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

skip() {
	echo "SKIPPED: the tests of the unit: $1"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
}

[ -d /run/systemd/system ] || skip "no systemd runs here"
[ "$(id -u)" -eq 0 ] || skip "this is not root"
[ -n "${SYSTEMD_SANDBOX:-}${USHER_TEST_INSTALL:-}" ] ||
	skip "they install usher; set USHER_TEST_INSTALL=1 where that does no harm"

# shellcheck source=tests/systemd/lib.sh
. tests/systemd/lib.sh
# shellcheck source=tests/systemd/unit.sh
. tests/systemd/unit.sh

UNITDIR=/usr/local/lib/systemd/system
folder=$(mktemp -d)
NEVER=$folder/never # a pipe that nobody writes to, to wait at
mkfifo "$NEVER"
trap 'clean_up; rm -rf "$folder"' EXIT
export PATH=/usr/local/sbin:/usr/local/bin:$PATH

# What was built, not built anew with the flags of this environment.
make -s -o all install || exit 1
systemd-sysusers /usr/local/lib/sysusers.d/usher.conf || exit 1
systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/usher.conf || exit 1
systemctl daemon-reload

tests=("$@")
[ ${#tests[@]} -gt 0 ] || mapfile -t tests < <(declare -F | sed -n 's/^declare -f test_//p')

passed=0 failed=0
for name in "${tests[@]}"; do
	BEGAN=$(date +%s.%N)
	if ("test_$name") >"$folder/said" 2>&1 </dev/null; then
		passed=$((passed + 1))
		echo "ok $name"
	else
		failed=$((failed + 1))
		echo "not ok $name:"
		sed 's/^/    /' "$folder/said"
		whole_log | tail -n 20 | sed 's/^/    | /'
	fi
	clean_up
done

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
