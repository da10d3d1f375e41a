"""A fresh ext4 with a journal for each run, on a sparse file, mounted through a loop device.

Creating files after deleting many can cost many times more than on a fresh file system, so no two
runs share one.
"""

import contextlib
import fcntl
import os
import pathlib
import struct
import subprocess
import tempfile

from settings import DIRECTORY

# Room for a million inodes.
_SIZE = "20G"
# EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH of the kernel's ext4.h.
_SHUTDOWN, _WITHOUT_FLUSHING = 0x8004587D, 2


@contextlib.contextmanager
def fresh():
    """The directory on which a new file system is mounted; both are gone afterwards."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    place = pathlib.Path(tempfile.mkdtemp(prefix="disk-", dir=DIRECTORY))
    image, mounted = place / "image", place / "fs"
    mounted.mkdir()
    _run("truncate", "--size", _SIZE, image)
    _run("mkfs.ext4", "-q", image)
    # The kernel does not fill in inode tables while somebody's time is taken.
    _run("mount", "-o", "loop,noinit_itable", image, mounted)
    try:
        yield mounted
    finally:
        _discard(mounted)
        # Some tools leave mounts of their own in it.
        _run("umount", "--recursive", mounted)
        image.unlink()
        mounted.rmdir()
        place.rmdir()


def _discard(mounted):
    """Drops what is not written yet: the next run shall not share the disk with this one."""
    directory = os.open(mounted, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(directory, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSHING))
    finally:
        os.close(directory)


def _run(*command):
    subprocess.run(command, check=True)
