#!/bin/sh
# Installs what the integration tests compare with, from Debian's packages, where it is missing.
set -eu

missing=
for pair in umoci:umoci python3:python3 tar:tar setpriv:util-linux getfattr:attr; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
apt-get update -qq
# shellcheck disable=SC2086 # one word for each package
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
