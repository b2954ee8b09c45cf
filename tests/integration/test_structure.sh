#!/bin/sh
# The promises that the layout of the tree makes, read from the sources: who may include whom, and
# that each header stands alone. Run from the top of the tree by tests/run.sh.
set -u

compiler=${CC:-cc}
flags="-std=gnu11 -D_GNU_SOURCE -Wall -Werror -I. -I$USHER_BUILD/include"
complaints=$(mktemp)
trap 'rm -f "$complaints"' EXIT

# ok when the command that follows the name says nothing, not ok with what it said.
says_nothing() {
	name=$1
	shift
	"$@" >"$complaints" 2>&1
	if [ -s "$complaints" ]; then
		echo "not ok $name: $(wc -l <"$complaints") lines:"
		sed 's/^/    /' "$complaints"
	else
		echo "ok $name"
	fi
}

# Includes of a folder's files that match a pattern.
includes() {
	grep -rnE --include='*.[ch]' "^#[[:space:]]*include[[:space:]]*[<\"]($2)" "$1"
}

strangers_at_the_top() {
	if git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files | cut -d/ -f1 | sort -u
	else
		ls -A
	fi | grep -vxE '\..*|Makefile|daemon|worker|common|conf|systemd|tests|README\.md|LICENSE|build'
}

daemon_and_worker_mixed() {
	includes daemon 'worker/'
	includes worker 'daemon/'
}

logging_in_common() {
	grep -rnE --include='*.[ch]' '\blog_(error|warning|info|debug|write|init)[[:space:]]*\(|"common/log\.h"' common |
		grep -v '^common/log\.[ch]:'
}

sleeps() {
	grep -rnE --include='*.[ch]' '\b(u?sleep|nanosleep|clock_nanosleep)[[:space:]]*\(' common daemon worker tests
}

headers() {
	find common daemon worker tests -name '*.h'
}

headers_that_lean_on_others() {
	for header in $(headers); do
		# shellcheck disable=SC2086 # a list of flags
		$compiler $flags -fsyntax-only -x c -include "$header" -include "$header" /dev/null ||
			echo "$header"
	done
}

# shellcheck disable=SC2086
public_headers_that_are_not_cxx() {
	for header in "$USHER_BUILD"/include/usher/*.h; do
		$1 -Werror -Wall -Wextra -I"$USHER_BUILD/include" -fsyntax-only -x c++ -include "$header" /dev/null
	done
}

says_nothing top_level_is_the_fixed_layout strangers_at_the_top
says_nothing net_library_knows_nothing_of_processes \
	includes common/net 'common/(ipc|cluster)/|usher/cluster|daemon/|worker/'
says_nothing cluster_engine_knows_no_program \
	includes common/cluster 'daemon/|worker/'
says_nothing channel_knows_nothing_of_sockets_or_clusters \
	includes common/ipc 'common/(net|cluster)/|usher/|daemon/|worker/'
says_nothing common_includes_no_program includes common 'daemon/|worker/|tests/'
says_nothing daemon_and_worker_never_include_each_other daemon_and_worker_mixed
says_nothing common_never_logs logging_in_common
says_nothing nothing_sleeps sleeps
says_nothing each_header_compiles_alone_and_twice headers_that_lean_on_others

cxx=$(command -v g++ || command -v clang++)
if [ -n "$cxx" ]; then
	says_nothing public_headers_compile_as_cxx public_headers_that_are_not_cxx "$cxx"
else
	echo "ok public_headers_compile_as_cxx # SKIP no C++ compiler is installed"
fi
