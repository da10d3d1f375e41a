#!/bin/sh
# Installs what the benchmark builds its corpora with, and compares with, where it is missing.
set -eu

missing=
for pair in mmdebstrap:mmdebstrap npm:npm python3:python3 pip3:python3-pip mkfs.ext4:e2fsprogs \
    mount:mount gzip:gzip tar:tar pigz:pigz igzip:isal bsdtar:libarchive-tools umoci:umoci \
    skopeo:skopeo containerd:containerd strace:strace podman:podman docker-registry:docker-registry \
    ip:iproute2 tc:iproute2 curl:curl; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
apt-get update -qq
# shellcheck disable=SC2086 # one word for each package
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
