#!/bin/sh
# Installs what the integration tests compare with, from Debian's packages, where it is missing.
set -eu

missing=
for pair in umoci:umoci python3:python3 tar:tar setpriv:util-linux getfattr:attr setfacl:acl buildah:buildah \
    podman:podman skopeo:skopeo runc:runc crun:crun gzip:gzip xz:xz-utils zstd:zstd strace:strace \
    mksquashfs:squashfs-tools mkfs.erofs:erofs-utils \
    bsdtar:libarchive-tools mtree:mtree-netbsd fsverity:fsverity \
    mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs xfs_io:xfsprogs mkfs.btrfs:btrfs-progs \
    qemu-storage-daemon:qemu-system-common containerd:containerd docker-registry:docker-registry \
    nginx:nginx-light \
    curl:curl openssl:openssl zsh:zsh fish:fish; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
# A container with nothing else in it needs a busybox without libraries, which ldd fails for.
if ! busybox=$(command -v busybox) || ldd "$busybox" >/dev/null 2>&1; then
    missing="$missing busybox-static"
fi
[ -n "$missing" ] || exit 0
echo "installing:$missing"
apt-get update -qq
# shellcheck disable=SC2086 # one word for each package
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
