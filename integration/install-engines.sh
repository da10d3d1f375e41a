#!/bin/sh
# Fetches newer engines than Debian 12 has, for tests that try what is made for them. Nothing is
# installed: the packages of each suite are unpacked into target/engines/SUITE, where they stay.
# integration/engines.rs runs them; where they cannot be had, it tells and skips.
set -eu

cd "$(dirname "$0")/.."
top=$PWD/target/engines
keys=/usr/share/keyrings/debian-archive-keyring.gpg

mkdir -p "$top"
if [ $# -eq 0 ]; then
    exec 9> "$top/lock"
    flock 9
    for engines in "trixie runc crun" \
        "sid runc crun podman conmon netavark golang-github-containers-common uidmap passwd systemd-container" \
        "experimental runc"; do
        # shellcheck disable=SC2086 # one word for each package
        integration/install-engines.sh $engines ||
            echo "install-engines.sh: there are no engines of ${engines%% *}"
    done
    exit 0
fi

# install-engines.sh SUITE PACKAGE...: one apt with a state of its own, so that all that the packages
# depend on comes from there, too.
suite=$1 apt=$top/$1.apt root=$top/$1
shift
[ "$(cat "$root.packages" 2>/dev/null)" != "$*" ] || exit 0
# What this system's own packages come from.
# shellcheck disable=SC2016 # the words are apt's
uri=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n 's/^Debian //p' | head -n 1)
if [ -z "$uri" ] || [ ! -e "$keys" ]; then
    echo "install-engines.sh: this system has no packages of Debian's"
    exit 1
fi
echo "fetching for the tests, from Debian $suite: $*"
rm -rf "$root" "$root.packages" "$apt"
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/state" "$root"
: > "$apt/status"
echo "deb [signed-by=$keys] $uri $suite main" > "$apt/sources.list"
# experimental is built upon sid.
[ "$suite" != experimental ] || echo "deb [signed-by=$keys] $uri sid main" >> "$apt/sources.list"
cat > "$apt/conf" <<CONF
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "$apt/state";
Dir::State::Lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
APT::Sandbox::User "root";
APT::Default-Release "$suite";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
CONF
APT_CONFIG=$apt/conf apt-get update -qq
APT_CONFIG=$apt/conf apt-get install -y -qq --no-install-recommends --download-only "$@"
for package in "$apt"/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$root"
done
rm -rf "$apt"
echo "$*" > "$root.packages"
