#!/usr/bin/env python3
"""A second model, independent of the first: applies an image's layers to a tree in memory and lists it.

The reference model of the properties is tests/support/model.rs, which is given entries. This one reads
real images from their bytes, in another language, so that a mistake in the first, or in how our tests
spell archives, is not made twice; integration/images.rs compares it with what is mounted.

    apply.py IMAGE [REF]     an archive of `docker save`, an OCI archive or layout directory (each
                             archive also inside gzip or xz), or a bare layer
    apply.py --layer BLOB..  bare layers, the bottommost first
    apply.py --walk DIR      the same listing of a directory, such as a mounted stack

One JSON line per path, sorted by its bytes: what two trees print is equal if the trees are. Bytes
appear as the characters U+0000 to U+00FF. `links` is the smallest path of a file that has several
names. Only the standard library, and nothing of the product: it is right by being obvious, so it
uses as much memory and time as it likes. A deletion is applied as the image specification says,
on a real tree with real removals; there is no overlayfs in here.

Exit status: 0 done, 1 failed, 3 the image is refused, 4 a limit.
"""

import gzip
import hashlib
import io
import json
import lzma
import os
import platform
import re
import stat
import struct
import sys
import tarfile

NAME_MAX = 255
PATH_MAX = 4095
MAX_SYMLINKS = 40
OPAQUE = b".wh..wh..opq"
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFSOCK: "socket",
}
TAR_KINDS = {
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.LNKTYPE: "hardlink",
}


class Refused(Exception):
    """The image breaks a rule."""

    status = 3


class Limit(Refused):
    """A path is too long."""

    status = 4


class Loop(Exception):
    """Too many symlinks on the way."""


class InTheWay(Exception):
    """Something that is no directory stands where a marker's directory should be."""


# The tree.


class Node:
    """An inode: what it is, its attributes, and what it holds."""

    def __init__(self, kind="dir", mode=0o755, uid=0, gid=0, mtime=0, xattrs=None):
        self.kind = kind
        self.children = {}
        self.size = self.sha256 = self.target = self.rdev = None
        self.goal = b""
        self.set_attributes(mode, uid, gid, mtime, xattrs or {})

    def set_attributes(self, mode, uid, gid, mtime, xattrs):
        self.mode, self.uid, self.gid, self.mtime = mode, uid, gid, mtime
        self.xattrs = dict(xattrs)

    def line(self, path):
        fields = {"path": text(path) or ".", "type": self.kind, "mode": f"{self.mode:04o}"}
        fields |= {"uid": self.uid, "gid": self.gid, "mtime": self.mtime}
        for name in ("size", "sha256", "target", "rdev"):
            if getattr(self, name) is not None:
                fields[name] = getattr(self, name)
        if self.xattrs:
            fields["xattrs"] = {text(k): v.hex() for k, v in sorted(self.xattrs.items())}
        return fields


def text(data):
    return data.decode("latin-1")


def hash_into(node, stream):
    digest, node.size = hashlib.sha256(), 0
    while block := stream.read(1 << 20):
        digest.update(block)
        node.size += len(block)
    node.sha256 = digest.hexdigest()


class Tree:
    """A root directory, and the walks in it that stay inside it."""

    def __init__(self):
        self.root = Node()

    def walk(self, path, missing, masked=frozenset()):
        """The directory at `path` (components), symlinks followed as in a chroot.

        A symlink at one of the paths in `masked` is not followed but in the way; its own path
        counts, and the part of `path` that ends there.
        `missing(stack, name, node)` is called for a name that is absent (`node` is None) or no
        directory; it returns the directory to go on with, or raises.
        """
        stack, here, todo, followed = [self.root], [], list(reversed(path)), 0
        to_come = len(path)
        while todo:
            name = todo.pop()
            spelled = None
            if len(todo) < to_come:
                to_come = len(todo)
                spelled = tuple(path[: len(path) - to_come])
            if name in (b"", b"."):
                continue
            if name == b"..":
                del stack[max(1, len(stack) - 1) :]
                del here[-1:]
                continue
            node = stack[-1].children.get(name)
            if node is not None and node.kind == "symlink":
                if spelled in masked or (*here, name) in masked:
                    raise InTheWay
                followed += 1
                if followed > MAX_SYMLINKS:
                    raise Loop
                if node.goal.startswith(b"/"):
                    del stack[1:]
                    del here[:]
                todo += reversed(node.goal.split(b"/"))
                continue
            if node is None or node.kind != "dir":
                node = missing(stack[-1], name, node)
            stack.append(node)
            here.append(name)
        return stack[-1]

    def directory_for_marker(self, path, masked):
        """The marker's directory, made where it is missing; nothing is made if it cannot be."""
        made = []

        def make(parent, name, node):
            if node is not None:
                raise InTheWay
            parent.children[name] = Node()
            made.append((parent, name))
            return parent.children[name]

        try:
            return self.walk(path, make, masked)
        except (Loop, InTheWay):
            for parent, name in reversed(made):
                del parent.children[name]
            return None

    def directory_for_entry(self, path):
        """The entry's directory; whatever else is in the way is replaced by one."""

        def make(parent, name, _):
            parent.children[name] = Node()
            return parent.children[name]

        try:
            return self.walk(path, make)
        except Loop:
            raise Refused("too many symbolic links") from None

    def link_target(self, path):
        """The inode that a hard link means."""

        def fail(*_):
            raise Refused("the hard link's target does not exist")

        try:
            parent = self.walk(path[:-1], fail)
        except Loop:
            raise Refused("too many symbolic links") from None
        node = parent.children.get(path[-1])
        if node is None or node.kind == "dir":
            raise Refused("the hard link's target is missing or a directory")
        return node

    def lines(self):
        found, todo = {}, [(b"", self.root)]
        while todo:
            path, node = todo.pop()
            found[path] = node
            for name, child in node.children.items():
                todo.append((path + b"/" + name if path else name, child))
        return listing({path: (node.line(path), id(node)) for path, node in found.items()})


def listing(found):
    """The JSON lines of {path: (fields, identity)}; equal identities are names of one file."""
    names = {}
    for path in sorted(found):
        names.setdefault(found[path][1], []).append(path)
    for path in sorted(found):
        fields, identity = found[path]
        if len(names[identity]) > 1:
            fields["links"] = text(names[identity][0])
        yield json.dumps(fields)


# One layer, applied.


class Marker:
    """A whiteout (`name` is set) or an opaque mark (`name` is None) in a directory."""

    def __init__(self, parent, name):
        self.parent, self.name = parent, name


def clean(raw):
    """A tar name as a list of components."""
    path = [part for part in raw.split(b"/") if part not in (b"", b".")]
    for part in path:
        if part == b"..":
            raise Refused("a component `..`")
        if b"\0" in part:
            raise Refused("a NUL byte")
        if len(part) > NAME_MAX + (4 if part.startswith(b".wh.") else 0):
            raise Refused("a component of over 255 bytes")
    if len(b"/".join(path)) > PATH_MAX:
        raise Limit("a path of over 4095 bytes")
    return path


def classify(path):
    """A Marker, the path itself, or None for what is to be skipped."""
    for depth, part in enumerate(path):
        if not part.startswith(b".wh."):
            continue
        if part.startswith(b".wh..wh.") and part != OPAQUE:
            return None
        if depth + 1 < len(path):
            raise Refused("an entry inside a whiteout")
        if part in (b".wh.", b".wh..", b".wh..."):
            raise Refused("a whiteout of no name")
        return Marker(path[:-1], None if part == OPAQUE else part[4:])
    return path


def apply_layer(tree, stream):
    """The three steps: resolve the markers, delete all at once, add the entries in order.

    A directory entry of the layer masks a symlink of the layers below for its markers.
    """
    with tarfile.open(
        fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape"
    ) as archive:
        entries = []
        for member in archive:
            try:
                found = classify(clean(raw(member.name)))
            except Refused as refusal:
                raise type(refusal)(f"{member.name!r}: {refusal}") from None
            if found is not None:
                entries.append((found, member))
        markers = [found for found, _ in entries if isinstance(found, Marker)]
        masked = own_directories(entries)
        places = [(tree.directory_for_marker(m.parent, masked), m.name) for m in markers]
        for directory, name in places:
            if directory is None:
                continue
            if name is None:
                directory.children.clear()
            else:
                directory.children.pop(name, None)
        for found, member in entries:
            if not isinstance(found, Marker):
                try:
                    add(tree, found, member, archive)
                except Refused as refusal:
                    raise type(refusal)(f"{member.name!r}: {refusal}") from None


def own_directories(entries):
    """Where the layer has a directory entry that nothing in the layer replaces later."""
    own = set()
    for path, member in entries:
        if isinstance(path, Marker):
            continue
        if member.isdir():
            own.add(tuple(path))
        else:
            own = {other for other in own if list(other[: len(path)]) != path}
    return own


def add(tree, path, member, archive):
    kind = TAR_KINDS.get(member.type, "file")
    if not path:
        if kind != "dir":
            raise Refused("the root is no directory")
        tree.root.set_attributes(*attributes(member, kind))
        return
    if kind == "hardlink":
        add_link(tree, path, member)
        return
    node = Node(kind, *attributes(member, kind))
    fill(node, member, archive)
    parent = tree.directory_for_entry(path[:-1])
    old = parent.children.get(path[-1])
    if kind == "dir" and old is not None and old.kind == "dir":
        old.set_attributes(*attributes(member, kind))
    else:
        parent.children[path[-1]] = node


def add_link(tree, path, member):
    target = clean(raw(member.linkname))
    if not target:
        raise Refused("a hard link to the root")
    node = tree.link_target(target)
    parent = tree.directory_for_entry(path[:-1])
    # Making the new name's directory may have removed the target.
    tree.link_target(target)
    parent.children[path[-1]] = node


def fill(node, member, archive):
    if node.kind == "file":
        hash_into(node, archive.extractfile(member) if member.size else io.BytesIO())
    elif node.kind == "symlink":
        node.goal = raw(member.linkname)
        node.target = text(node.goal)
        node.mode = 0o777
    elif node.kind in ("char", "block"):
        node.rdev = [member.devmajor, member.devminor]
        if node.kind == "char" and node.rdev == [0, 0]:
            raise Refused("a character device 0:0")


def raw(decoded):
    return decoded.encode("utf-8", "surrogateescape")


def attributes(member, kind):
    for number in (member.uid, member.gid):
        if not 0 <= number <= 0xFFFF_FFFE:
            raise Refused("an owner that does not fit")
    mode, xattrs = member.mode & 0o7777, {}
    for key, value in member.pax_headers.items():
        if key.startswith("SCHILY.xattr."):
            xattrs[raw(key.removeprefix("SCHILY.xattr."))] = raw(value)
    return mode, member.uid, member.gid, mtime(member), as_kept(xattrs, kind, mode)


def mtime(member):
    """Nanoseconds; the decimals of a PAX time are exact, and cut after the ninth."""
    pax = member.pax_headers.get("mtime")
    if not pax:
        return int(member.mtime) * 10**9
    sign, seconds, decimals = re.fullmatch(r"(-?)(\d*)(?:\.(\d*))?", pax).groups()
    nanoseconds = int(seconds or 0) * 10**9 + int((decimals or "").ljust(9, "0")[:9])
    return -nanoseconds if sign else nanoseconds


# Xattrs as a file system keeps them.


def as_kept(xattrs, kind, mode):
    kept = {}
    for name, value in xattrs.items():
        if name == b"security.selinux":
            continue
        if name.startswith(b"user.") and kind not in ("file", "dir"):
            continue
        if name == b"system.posix_acl_access":
            value = acl_as_kept(value, mode)
        if name == b"system.posix_acl_default":
            value = acl_as_kept(value, None)
        if value is not None:
            kept[name] = value
    return kept


ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_GROUP, ACL_MASK, ACL_OTHER = 1, 2, 4, 8, 16, 32


def acl_as_kept(value, mode):
    """An ACL as it reads back once the mode is set: chmod writes owner, mask (or group), others.

    None where an access ACL says no more than the mode: the kernel keeps no such ACL.
    """
    entries = [list(entry) for entry in struct.iter_unpack("<HHI", value[4:])]
    tags = {tag for tag, _, _ in entries}
    wanted = {}
    if mode is not None:
        if not tags & {ACL_USER, ACL_GROUP, ACL_MASK}:
            return None
        wanted = {ACL_USER_OBJ: mode >> 6, ACL_OTHER: mode}
        wanted[ACL_MASK if ACL_MASK in tags else ACL_GROUP_OBJ] = mode >> 3
    for entry in entries:
        entry[1] = wanted.get(entry[0], entry[1]) & 7
        if entry[0] not in (ACL_USER, ACL_GROUP):
            entry[2] = 0xFFFF_FFFF
    return value[:4] + b"".join(struct.pack("<HHI", *entry) for entry in entries)


# Images.


def plain(data):
    """The bytes within gzip or xz, or as they are."""
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        raise SystemExit("apply.py: this python has no zstd")
    return data


class Archive:
    """The files of an image archive by name; symlinks between them are followed."""

    def __init__(self, data):
        self.tar = tarfile.open(fileobj=io.BytesIO(data), mode="r:")
        self.members = {os.path.normpath(m.name): m for m in self.tar}

    def read(self, name):
        name = os.path.normpath(name)
        member = self.members.get(name)
        if member is None:
            return None
        if member.issym():
            return self.read(os.path.join(os.path.dirname(name), member.linkname))
        if member.islnk():
            return self.read(member.linkname)
        return self.tar.extractfile(member).read()


class Layout:
    """The files of an OCI layout directory."""

    def __init__(self, path):
        self.path = path

    def read(self, name):
        try:
            with open(os.path.join(self.path, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None


def layers_of(path, ref):
    """The layers of an image as bytes, not yet decompressed, the bottommost first."""
    if os.path.isdir(path):
        return oci_layers(Layout(path), ref)
    with open(path, "rb") as file:
        data = plain(file.read())
    files = Archive(data)
    if files.read("manifest.json") is not None:
        return docker_layers(files, ref)
    if files.read("index.json") is not None:
        return oci_layers(files, ref)
    return [data]


def docker_layers(files, ref):
    images = json.loads(files.read("manifest.json"))
    if ref is not None:
        images = [image for image in images if ref in (image["RepoTags"] or [])]
    image = only(images, [tag for image in images for tag in image["RepoTags"] or []])
    return [needed(files, name) for name in image["Layers"] or []]


def oci_layers(files, ref):
    index = json.loads(needed(files, "index.json"))
    tag = "org.opencontainers.image.ref.name"
    manifests = index["manifests"] or []
    if ref is not None:
        manifests = [m for m in manifests if m.get("annotations", {}).get(tag) == ref]
    while True:
        document = json.loads(blob(files, for_this_machine(manifests)))
        if "manifests" not in document:
            return [blob(files, layer) for layer in document["layers"] or []]
        manifests = document["manifests"]


def for_this_machine(manifests):
    if len(manifests) > 1:
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine())
        wanted = {"os": "linux", "architecture": machine}.items()
        manifests = [m for m in manifests if wanted <= m.get("platform", {}).items()]
    return only(manifests, [m["digest"] for m in manifests])


def only(found, names):
    if len(found) != 1:
        raise SystemExit(f"apply.py: not one image but {len(found)}: {names}")
    return found[0]


def needed(files, name):
    data = files.read(name)
    if data is None:
        raise Refused(f"{name} is missing")
    return data


def blob(files, descriptor):
    algorithm, encoded = descriptor["digest"].split(":")
    data = needed(files, f"blobs/{algorithm}/{encoded}")
    if hashlib.new(algorithm, data).hexdigest() != encoded:
        raise Refused(f"{descriptor['digest']} is damaged")
    return data


# A directory, walked.


def walk(root):
    found, todo = {}, [b""]
    while todo:
        path = todo.pop()
        full = os.path.join(root, path) if path else root
        status = os.lstat(full)
        node = read_node(full, status)
        identity = (status.st_dev, status.st_ino)
        # A directory has one name, whatever overlayfs gives it for a number.
        found[path] = (node.line(path), path if node.kind == "dir" else identity)
        if node.kind == "dir":
            todo += [os.path.join(path, name) for name in os.listdir(full)]
    return listing(found)


def read_node(full, status):
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    mode = stat.S_IMODE(status.st_mode)
    xattrs = {}
    for name in os.listxattr(full, follow_symlinks=False):
        if name != "security.selinux":
            xattrs[os.fsencode(name)] = os.getxattr(full, name, follow_symlinks=False)
    node = Node(kind, mode, status.st_uid, status.st_gid, status.st_mtime_ns, xattrs)
    if kind == "file":
        with open(full, "rb") as file:
            hash_into(node, file)
    elif kind == "symlink":
        node.target = text(os.readlink(full))
    elif kind in ("char", "block"):
        node.rdev = [os.major(status.st_rdev), os.minor(status.st_rdev)]
    return node


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    if arguments[0] == "--walk":
        lines = walk(os.fsencode(arguments[1]))
    else:
        tree = Tree()
        for layer in given_layers(arguments):
            apply_layer(tree, io.BytesIO(plain(layer)))
        lines = tree.lines()
    for line in lines:
        print(line)
    return 0


def given_layers(arguments):
    if arguments[0] != "--layer":
        return layers_of(arguments[0], arguments[1] if len(arguments) > 1 else None)
    layers = []
    for path in arguments[1:]:
        with open(path, "rb") as file:
            layers.append(file.read())
    return layers


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Refused as refusal:
        print(f"apply.py: {refusal}", file=sys.stderr)
        sys.exit(refusal.status)
