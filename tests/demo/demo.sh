#!/bin/sh
# Unpacks an image (the sample, or $IMAGE), mounts it where that is allowed, and prints its layers
# beside the merged tree. `make demo` runs it; everything stays in target/demo.
set -eu

lowerdir=$PWD/target/release/lowerdir
table=$PWD/target/release/examples/demo
place=$PWD/target/demo

if [ "${1:-}" != inside ]; then
    if [ -z "${IMAGE:-}" ]; then
        mkdir -p "$place"
        "$table" sample "$place/sample.tar"
        IMAGE=$place/sample.tar
        export IMAGE
    fi
    if [ "$(id -u)" -eq 0 ]; then
        exec "$0" inside
    fi
    # In a user namespace of our own we may mount, and must use the user.overlay.* spelling.
    if unshare --user --map-root-user --mount true 2>/dev/null; then
        exec unshare --user --map-root-user --mount "$0" inside --userxattr --owners caller
    fi
    echo "demo: neither root nor user namespaces: the layers are unpacked, not mounted"
    exec "$0" inside-without-mount --userxattr
fi

mounting=$1
shift
store=$place/store-$(id -u)${1:-}
merged=$place/merged

run() {
    echo "\$ lowerdir $*"
    "$lowerdir" --store "$store" "$@"
}

rm -rf "$store"
mkdir -p "$merged"
echo "\$ lowerdir unpack${*:+ $*} $IMAGE"
"$lowerdir" --store "$store" unpack "$@" "$IMAGE" > "$place/layers"
cat "$place/layers"
echo
run stack "$IMAGE"
echo
if [ "$mounting" = inside ]; then
    run mount "$IMAGE" "$merged"
    trap 'run umount "$merged"' EXIT
    tree=$merged
else
    tree=-
fi
echo
if [ -s "$place/layers" ]; then
    tr '\n' '\0' < "$place/layers" | xargs -0 "$table" show "$tree"
else
    echo "the image has no layers"
fi
echo
