#!/bin/sh
# What the build makes: hardened programs, a library that shows its own names only, an install that
# is whole and taken back whole, and a Makefile that builds anew just what it must.
set -u

build=$USHER_BUILD
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
programs="usherd usher-worker usherctl usher-load"

# A make inside make would be given the outer one's variables.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

# ok when the command that follows the name says nothing, not ok with what it said.
says_nothing() {
	name=$1
	shift
	"$@" >"$folder/said" 2>&1
	if [ -s "$folder/said" ]; then
		echo "not ok $name: it said:"
		sed 's/^/    /' "$folder/said"
	else
		echo "ok $name"
	fi
}

skip() {
	echo "ok $1 # SKIP $2"
}

# lacks WHAT PATTERN COMMAND...: complains unless the command's output has a line like the pattern.
lacks() {
	what=$1 pattern=$2
	shift 2
	"$@" 2>&1 | grep -qE "$pattern" || echo "no $what by $*"
}

not_position_independent() {
	for program in $programs; do
		lacks "DYN type" 'Type:.*DYN' readelf -h "$build/$program"
		lacks "PIE flag" 'FLAGS_1.*PIE' readelf -d "$build/$program"
	done
}

without_full_relro() {
	for product in $programs libusher.so; do
		lacks "GNU_RELRO" 'GNU_RELRO' readelf -Wl "$build/$product"
		lacks "NOW" 'FLAGS_1.*NOW' readelf -d "$build/$product"
	done
}

with_executable_stack() {
	for product in $programs libusher.so; do
		lacks "GNU_STACK of RW" 'GNU_STACK.* RW +0x' readelf -Wl "$build/$product"
	done
}

without_stack_protector() {
	for product in $programs libusher.so; do
		lacks "__stack_chk_fail" '__stack_chk_fail' readelf -Ws --dyn-syms "$build/$product"
	done
}

without_fortified_calls() {
	for product in $programs libusher.so; do
		lacks "__..._chk" ' __[a-z]+_chk@' readelf -Ws --dyn-syms "$build/$product"
	done
}

foreign_names_in_the_library() {
	nm -D --defined-only "$build/libusher.so" | awk '{ print $3 }' |
		grep -vE '^(net|cluster|usher)_|^LIBUSHER_[0-9]+'
}

# -o all: what was built is what is installed, whatever flags it was built with.
make_into() {
	make -s -o all BUILD="$build" DESTDIR="$folder/root" PREFIX=/usr "$@"
}

missing_after_install() {
	make_into install
	for file in usr/sbin/usherd usr/bin/usherctl usr/bin/usher-load usr/libexec/usher/usher-worker \
		usr/lib/libusher.so usr/lib/libusher.so.0 usr/lib/libusher.a \
		usr/lib/pkgconfig/usher.pc usr/include/usher/net.h \
		usr/lib/systemd/system/usher.service usr/lib/systemd/system/usher.socket \
		usr/lib/sysusers.d/usher.conf usr/lib/tmpfiles.d/usher.conf \
		usr/share/man/man8/usherd.8 usr/share/man/man1/usherctl.1 usr/share/man/man1/usher-load.1 \
		usr/share/man/man5/usher.yaml.5 usr/share/man/man3/libusher.3 \
		usr/share/man/man3/net_socket.3 usr/share/man/man3/net_socket_write.3 \
		usr/share/doc/usher/README.md usr/share/doc/usher/examples/echo_server.c \
		usr/share/doc/usher/LICENSE usr/share/doc/usher/examples/usher.yaml \
		etc/usher/usher.yaml; do
		[ -s "$folder/root/$file" ] || echo "missing: /$file"
	done
}

# A configuration that the administrator has changed stays when a new version is installed.
changed_by_a_second_install() {
	echo '# mine' >"$folder/root/etc/usher/usher.yaml"
	make_into install
	grep -qx '# mine' "$folder/root/etc/usher/usher.yaml" || echo "usher.yaml was overwritten"
}

left_after_uninstall() {
	make_into uninstall
	(cd "$folder/root" && find . -type f -o -type l) | grep -vx ./etc/usher/usher.yaml
	(cd "$folder/root" && find . -type d -name '*usher*') | grep -vx ./etc/usher
}

# The object that the checks of the Makefile build, with what make says about it.
made() {
	make BUILD="$folder/build" WERROR=1 "$@" "$folder/build/common/log.o" 2>&1
}

built_twice() {
	made >/dev/null
	made | grep -v 'is up to date'
}

not_built_anew_for_other_flags() {
	made CFLAGS='-O1 -g' | grep -q 'CC  *common/log.c' || echo "nothing was built"
}

# Werror is on: a complaint about a user's flags is a failure.
warned_about() {
	made "CFLAGS=$1" | grep -v '^  CC'
}

says_nothing programs_are_position_independent not_position_independent
says_nothing relocations_are_read_only_and_bound_at_start without_full_relro
says_nothing stacks_are_not_executable with_executable_stack
says_nothing stacks_are_protected without_stack_protector
if grep -q -e '-fsanitize' "$build/.flags"; then
	skip library_calls_are_fortified "sanitizers check the same and cannot be combined with it"
elif ! grep -q -e ' -O[123s]' "$build/.flags"; then
	skip library_calls_are_fortified "this build does not optimise"
else
	says_nothing library_calls_are_fortified without_fortified_calls
fi
says_nothing library_shows_its_own_names_only foreign_names_in_the_library

says_nothing install_is_whole missing_after_install
says_nothing second_install_keeps_the_configuration changed_by_a_second_install
says_nothing uninstall_takes_everything_back left_after_uninstall

says_nothing second_make_does_nothing built_twice
says_nothing other_flags_build_anew not_built_anew_for_other_flags
says_nothing no_warning_for_unoptimised_builds warned_about '-O0 -g'
says_nothing no_warning_for_builds_without_a_level warned_about '-g'
says_nothing no_warning_for_the_users_own_fortification warned_about '-O2 -D_FORTIFY_SOURCE=3'
