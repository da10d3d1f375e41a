"""A fresh ext4 with a journal for each run, on a sparse file, mounted through a loop device.

Creating files after deleting many can cost many times more than on a fresh file system, so no two
runs share one.
"""

import contextlib
import pathlib
import subprocess
import tempfile

from settings import DIRECTORY

# Room for a million inodes.
_SIZE = "20G"


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
        # Some tools leave mounts of their own in it.
        _run("umount", "--recursive", mounted)
        image.unlink()
        mounted.rmdir()
        place.rmdir()


def _run(*command):
    subprocess.run(command, check=True)
