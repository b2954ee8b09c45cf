#!/bin/sh
# A program outside the tree, with a Makefile that knows pkg-config and nothing else, built against
# what `make install` put below a DESTDIR: with the shared and the static library, in C and in C++.
# nc(1) talks to it.
set -u

build=$USHER_BUILD
folder=$(mktemp -d)
root=$folder/root
prefix=/opt/usher
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT

# A make inside make would be given the outer one's variables.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

# A library that was built for the sanitizers needs them in the program.
sanitizers=$(grep -o -e '-fsanitize=[a-z,]*' "$build/.flags" | head -n 1)
export CFLAGS="-Wall -O1 $sanitizers" CXXFLAGS="-Wall -Wextra -O1 $sanitizers" LDFLAGS="$sanitizers"
export PKG_CONFIG_SYSROOT_DIR="$root" PKG_CONFIG_PATH="$root$prefix/lib/pkgconfig"
export LD_LIBRARY_PATH="$root$prefix/lib"

# says NAME TEXT COMMAND...: ok when the command says just that.
says() {
	name=$1 text=$2
	shift 2
	"$@" >"$folder/said" 2>&1
	if [ "$(tr -d '\r' <"$folder/said")" = "$text" ]; then
		echo "ok $name"
	else
		echo "not ok $name: it said:"
		sed 's/^/    /' "$folder/said"
	fi
}

# The products as they were built; only usher.pc is made anew, for its place. -o all: the rest was
# built for another prefix, which does not matter to the library.
install_elsewhere() {
	mkdir "$folder/build" &&
		find "$build" -maxdepth 1 ! -type d ! -name usher.pc -exec cp -P '{}' "$folder/build" ';' &&
		make -s BUILD="$folder/build" PREFIX="$prefix" "$folder/build/usher.pc" &&
		make -s -o all install BUILD="$folder/build" PREFIX="$prefix" DESTDIR="$root"
}

copy_out() {
	mkdir -p "$1" && cp -r tests/outside tests/examples "$1"
}

# run PROGRAM WHERE: starts it and waits until it listens.
run() {
	rm -f "$folder/out"
	mkfifo "$folder/out"
	exec 3<>"$folder/out"
	"$1" "$2" >&3 2>&1 3>&- &
	server=$!
	timeout 20 head -n 1 <&3
}

stop() {
	kill "$server"
	wait "$server" 2>/dev/null
	server=
	exec 3>&-
}

# Where a server on any port listens; ss(8) has the local address in the fourth column.
port() {
	ss -Htlnp | grep ",pid=$server," | awk '{ print $4 }' | sed 's/.*://'
}

# ask [-U] ADDRESS...: says abc, and what comes back.
ask() {
	printf 'abc\n' | timeout 20 nc -N "$@"
}

linked_shared() {
	ldd "$1" | grep -c "$root$prefix/lib/libusher.so.0"
}

linked_static() {
	ldd "$1" | grep -c libusher
}

# talks KIND PROGRAM ANSWER...: over a port and over a path; each with its own answer.
talks() {
	run "$2" 0 >/dev/null
	says "$1_talks_over_tcp" "$3" ask 127.0.0.1 "$(port)"
	stop
	run "$2" "$folder/socket" >/dev/null
	says "$1_talks_over_a_path" "$3" ask -U "$folder/socket"
	stop
	rm -f "$folder/socket"
}

# both KIND COUNT-FUNCTION COUNT: builds both programs, looks how they are linked, and talks.
both() {
	copy_out "$folder/$1"
	says "c_program_builds_$1" "" make -s -C "$folder/$1/outside" echo_server
	says "c_program_is_linked_$1" "$3" "$2" "$folder/$1/outside/echo_server"
	talks "c_program_$1" "$folder/$1/outside/echo_server" "hello
abc"
	if ! command -v c++ >/dev/null; then
		echo "ok cxx_program_$1 # SKIP no C++ compiler is installed"
		return
	fi
	says "cxx_program_builds_$1" "" make -s -C "$folder/$1/outside" greeter
	says "cxx_program_is_linked_$1" "$3" "$2" "$folder/$1/outside/greeter"
	talks "cxx_program_$1" "$folder/$1/outside/greeter" "hello, 1"
}

if ! command -v nc >/dev/null; then
	echo "ok outside_program # SKIP no nc is installed"
	exit 0
fi
says library_installs_below_a_prefix "" install_elsewhere
says pkg_config_knows_the_prefix "-I$root$prefix/include -L$root$prefix/lib -lusher -lev" \
	sh -c 'pkg-config --cflags --libs usher | sed "s/ *$//"'
both shared linked_shared 1

# Without the shared library the linker takes the other one.
rm "$root$prefix/lib/libusher.so" "$root$prefix/lib/libusher.so.0"
both static linked_static 0
