#!/bin/sh
# The library's manual says what the headers say, shows the examples as they are compiled, and has
# every name of the documents: tests/integration/document_names lists those.
set -u

headers="common/net/net.h common/cluster/cluster.h"
pages="common/net/libusher.3 common/net/net_server.3 common/net/net_socket.3
	common/cluster/libusher-cluster.3"
index=common/net/libusher.3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# ok when the command that follows the name says nothing, not ok with what it said.
says_nothing() {
	promise=$1
	shift
	"$@" >"$folder/said" 2>&1
	if [ -s "$folder/said" ]; then
		echo "not ok $promise: $(wc -l <"$folder/said") lines:"
		sed 's/^/    /' "$folder/said"
	else
		echo "ok $promise"
	fi
}

# Without comments, some of which begin behind code.
# shellcheck disable=SC2086 # a list of names
sed -e ':all' -e 'N' -e '$!b all' -e 's@/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/@@g' $headers >"$folder/code"

# One line for each: "int net_is_ip(const char *text)".
tr '\n\t' '  ' <"$folder/code" | tr ';' '\n' |
	sed -n -e 's/.*\(NET\|CLUSTER\)_API //' -e 's/  */ /g' -e '/^[a-z].*(.*)$/p' | grep -v typedef |
	sort >"$folder/prototypes"
sed 's/(.*//; s/.*[ *]//' "$folder/prototypes" >"$folder/functions"

synopses() {
	# shellcheck disable=SC2086 # a list of names
	awk '/^\.Ft / { type = substr($0, 5); gsub(/"/, "", type) }
		/^\.Fo / { name = $2; arguments = ""; comma = "" }
		/^\.Fa "/ && name {
			text = substr($0, 6)
			arguments = arguments comma substr(text, 1, length(text) - 1)
			comma = ", "
		}
		/^\.Fc/ { print type (type ~ /\*$/ ? "" : " ") name "(" arguments ")"; name = "" }' \
		$pages | grep -v '^typedef ' | sort
}

other_prototypes() {
	[ "$(wc -l <"$folder/prototypes")" -ge 70 ] || echo "the header seems to promise too little"
	synopses | diff "$folder/prototypes" -
}

# Under FUNCTIONS or the like: ".It Fn NAME ARGUMENT...", perhaps two in a line.
undescribed_functions() {
	while read -r function; do
		# shellcheck disable=SC2086
		grep -qE "^\.It (.* , )?Fn $function( [a-z_]+)*( ,.*)?\$" $pages || echo "$function"
	done <"$folder/functions"
}

rows() {
	for page in $pages; do sed -n '/^\.Sh INDEX/,/^\.Sh E/p' "$page"; done | grep '^\.It .* Ta '
}

functions_without_a_row() {
	while read -r function; do
		rows | grep -qE "Fn $function( |\$)" || echo "$function"
	done <"$folder/functions"
}

document_names_without_a_row() {
	while read -r name; do
		rows | grep -qF ".It \"$name\" Ta " || echo "$name"
	done <tests/integration/document_names
}

# members STRUCT: its lines, without the space that lays them out.
members() {
	sed -n "/^struct $1 {/,/^};/p" "$2" | sed -e 's/[ 	][ 	]*/ /g' -e 's/ *\(;\) *$/\1/' -e '/^ *$/d'
}

rows_of_what_is_not_there() {
	for name in $(rows | grep -oE 'Fn (net|cluster)_[a-z0-9_]+' | cut -c4-); do
		grep -qx "$name" "$folder/functions" || echo "no function $name"
	done
	for name in $(rows | grep -oE 'Fa (net|cluster)_[a-z0-9_.]+' | cut -c4-); do
		members "${name%.*}" "$folder/code" | grep -qE "[ *(]${name#*.}(\)|;)" ||
			echo "no member $name"
	done
}

structs_of_the_code() {
	sed -n -e 's/^struct \(net_[a-z_]*_\(ops\|options\)\) {/\1/p' \
		-e 's/^struct \(net_error\|net_address\|cluster_[a-z_]*\) {/\1/p' \
		"$folder/code"
}

other_structs() {
	for struct in $(structs_of_the_code); do
		members "$struct" "$folder/code" >"$folder/expected"
		for page in $pages; do members "$struct" "$page"; done | diff "$folder/expected" - ||
			echo "(struct $struct)"
	done
}

errors_without_a_text() {
	sed -n 's/^	\(NET_ERR_[A-Z_]*\) = .*/\1/p' "$folder/code" | while read -r name; do
		grep -qx "\.It Dv $name" "$index" || echo "$name"
	done
}

# What stands under the comment with the example's name, as the compiler wants it.
other_examples() {
	for example in tests/examples/*.c; do
		# shellcheck disable=SC2086
		awk -v begin=".\\\\\" $example" '$0 == begin { shown = 1; next }
			shown && /^\.Ed/ { shown = 0 }
			shown && !/^\.Bd/' $pages |
			sed -e 's/^\\&//' -e 's/\\e/\\/g' | diff "$example" - || echo "($example)"
	done
}

says_nothing synopses_are_the_prototypes_of_the_header other_prototypes
says_nothing every_function_is_described undescribed_functions
says_nothing every_function_has_a_row_in_the_index functions_without_a_row
says_nothing every_name_of_the_documents_has_a_row document_names_without_a_row
says_nothing every_row_names_what_is_there rows_of_what_is_not_there
says_nothing structs_are_those_of_the_header other_structs
says_nothing every_error_has_a_text errors_without_a_text
says_nothing every_example_is_shown_as_it_is_compiled other_examples
