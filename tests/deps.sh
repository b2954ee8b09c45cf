#!/bin/sh
# Installs those of the named Debian packages that are missing; says nothing and needs no network
# when none is. Elsewhere it says what is needed and lets the build speak for itself.
set -eu

command -v dpkg-query >/dev/null || {
	echo "deps: not Debian; needed, by their Debian names: $*" >&2
	exit 0
}

missing=
for package; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
		missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
	as_root=sudo
	command -v sudo >/dev/null || {
		echo "deps: missing:$missing; run as root: apt-get install$missing" >&2
		exit 1
	}
fi

echo "deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of names
$as_root apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null
