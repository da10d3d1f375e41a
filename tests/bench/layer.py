"""Writes one layer: a tar archive as a builder would write it, through `gzip -6` or plain.

`corpora` and `shapes` call it. Entries are in the order in which they are added, with whole seconds and
without the clock, so that the same trees give the same bytes.
"""

import hashlib
import io
import os
import subprocess
import tarfile

from settings import EPOCH


class Layer:
    """A layer being written to `path`; use it as a context manager, then ask for its digests."""

    def __init__(self, path, compressed=True):
        self.path = path
        self.compressed = compressed
        self.entries = 0
        self.deletions = 0
        self.uncompressed = 0
        self._diff = hashlib.sha256()

    def __enter__(self):
        self._file = open(self.path, "wb")
        self._gzip, self._sink = None, self._file
        if self.compressed:
            command = ["gzip", "-6", "-n"]
            self._gzip = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self._file)
            self._sink = self._gzip.stdin
        self._tar = tarfile.open(
            fileobj=self, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 18
        )
        return self

    def __exit__(self, *_):
        self._tar.close()
        self._sink.close()
        status = self._gzip.wait() if self._gzip else 0
        self._file.close()
        if status != 0:
            raise RuntimeError(f"gzip ended with {status}")

    def write(self, data):
        """For tarfile: the archive's next bytes."""
        self._diff.update(data)
        self.uncompressed += len(data)
        return self._sink.write(data)

    def diff_id(self):
        return "sha256:" + self._diff.hexdigest()

    def add(self, tree, name):
        """What is at `name` in a tree, with its attributes; a second link to a file as a link."""
        source = os.path.join(tree, name)
        entry = self._tar.gettarinfo(source, name)
        if entry is None:
            return  # a socket
        entry.mtime = EPOCH
        entry.uname = entry.gname = ""
        entry.pax_headers = _xattrs(source)
        if entry.isreg():
            with open(source, "rb") as file:
                self._append(entry, file)
        else:
            self._append(entry)

    def file(self, name, contents):
        """A file that no tree has."""
        entry = tarfile.TarInfo(name)
        entry.mtime, entry.size = EPOCH, len(contents)
        self._append(entry, io.BytesIO(contents))

    def directory(self, name):
        """A directory that no tree has."""
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, EPOCH
        self._append(entry)

    def symlink(self, name, target):
        self._link(name, target, tarfile.SYMTYPE)

    def hardlink(self, name, target):
        self._link(name, target, tarfile.LNKTYPE)

    def described(self, name, records):
        """An empty file with these records in its PAX header."""
        entry = tarfile.TarInfo(name)
        entry.mtime, entry.pax_headers = EPOCH, records
        self._append(entry)

    def delete(self, name):
        """A whiteout: `name` is gone from this layer on."""
        head, tail = os.path.split(name)
        self._marker(os.path.join(head, ".wh." + tail))

    def empty(self, directory):
        """An opaque directory: what the layers below have in it is gone."""
        self._marker(os.path.join(directory, ".wh..wh..opq"))

    def _link(self, name, target, kind):
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.mtime = kind, target, EPOCH
        self._append(entry)

    def _append(self, entry, file=None):
        self._tar.addfile(entry, file)
        # tarfile would remember every entry, and there may be a million.
        self._tar.members.clear()
        self.entries += 1

    def _marker(self, name):
        self.file(name, b"")
        self.deletions += 1


def _xattrs(path):
    names = os.listxattr(path, follow_symlinks=False)
    values = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    return {
        f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
        for name, value in values.items()
    }
