#!/bin/sh
# Installs those of the named Debian packages that are missing. Says nothing and needs no network
# when none is. On other systems it says what is needed and lets the build speak for itself.
set -eu

command -v dpkg-query >/dev/null || {
	echo "deps: this is not Debian; what is needed, by its Debian names: $*" >&2
	exit 0
}

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
missing=
for package; do
	echo "$installed" | grep -qx "installed $package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
	as_root=sudo
	command -v sudo >/dev/null || {
		echo "deps: missing:$missing" >&2
		echo "deps: there is no sudo here; as root: apt-get install$missing" >&2
		exit 1
	}
fi

# sudo drops the environment, and another package manager may hold the lock for a while.
apt_get() {
	$as_root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

echo "deps: installing$missing"
apt_get update
# shellcheck disable=SC2086 # a list of names
apt_get install -y --no-install-recommends $missing >/dev/null
