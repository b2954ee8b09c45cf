#!/bin/sh
# The library's names: what the headers promise is there, nothing else is, and C++ can use it.
set -u

build=$USHER_BUILD
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

check() {
	if [ -s "$folder/$1" ]; then
		echo "not ok $1:"
		sed 's/^/    /' "$folder/$1"
	else
		echo "ok $1"
	fi
}

# A declaration may go over several lines; its name is the last before the first bracket.
cat common/*/*.h | grep -v '^#' | tr '\n\t' '  ' | tr ';' '\n' |
	sed -n 's/.*\(NET\|CLUSTER\|USHER\)_API \([^(]*\)(.*/\2/p' | sed 's/.*[ *]//' |
	sort >"$folder/promised"
nm -D --defined-only "$build/libusher.so" | awk '$2 ~ /[TDBRVW]/ { print $3 }' | sed 's/@.*//' |
	grep -v '^LIBUSHER_' | sort >"$folder/exported"

comm -23 "$folder/promised" "$folder/exported" >"$folder/every_promised_function_is_exported"
comm -13 "$folder/promised" "$folder/exported" >"$folder/nothing_else_is_exported"
[ "$(wc -l <"$folder/promised")" -ge 50 ] || echo "only so many:" >>"$folder/every_promised_function_is_exported"
check every_promised_function_is_exported
check nothing_else_is_exported

readelf -d "$build/libusher.so" | grep -q 'SONAME.*\[libusher\.so\.[0-9]*\]' ||
	echo "no SONAME" >"$folder/the_library_has_a_soname"
check the_library_has_a_soname

cat >"$folder/user.cc" <<'CODE'
#include <usher/net.h>

static void on_connection(net_server *, net_socket *socket, void *)
{
	net_socket_end(socket, "goodbye\n", 8, nullptr, nullptr);
}

int main()
{
	net_server_ops ops = {};
	net_block_list *list;

	ops.on_connection = on_connection;
	if (net_is_ip("::1") != 6 || net_block_list_new(&list) < 0)
		return 1;
	net_block_list_free(list);
	return ops.on_connection == nullptr;
}
CODE
for compiler in g++ clang++; do
	result=cxx_can_use_it_with_$compiler
	if ! command -v "$compiler" >/dev/null; then
		echo "ok $result # SKIP no $compiler"
		continue
	fi
	# The sanitizers' runtime, if any, is the library's matter.
	if ldd "$build/libusher.so" | grep -q asan; then
		"$compiler" -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only \
			-I"$build/include" "$folder/user.cc" >"$folder/$result" 2>&1
	else
		{ "$compiler" -std=c++11 -Wall -Wextra -Wpedantic -Werror -I"$build/include" \
			-o "$folder/user" "$folder/user.cc" -L"$build" -lusher -lev \
			-Wl,-rpath,"$build" && "$folder/user" || echo "failed"; } >"$folder/$result" 2>&1
	fi
	check "$result"
done

# Each public header stands alone, in C99 as well.
for header in "$build"/include/usher/*.h; do
	echo "#include \"$header\"" | ${CC:-cc} -std=c99 -Wall -Wextra -Werror \
		-I"$build/include" -fsyntax-only -x c - \
		>>"$folder/public_headers_compile_alone" 2>&1
done
check public_headers_compile_alone
