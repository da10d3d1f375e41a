"""Whom a run measures, and how each is told to unpack one corpus.

`rounds` runs them; `verifies` finds out what they check.
"""

import concurrent.futures
import dataclasses
import shutil
import typing

import layout
import peers
from process import run, seconds
from settings import TOOLS, builds

SYNCED = "with --sync=fs"
PAIR = "2 at once"
CTR = "ctr images import"
UNPACKING = "unpacking alone"


@dataclasses.dataclass(frozen=True)
class Tool:
    """One row of the table."""

    name: str
    # Gets a corpus and an empty directory, and returns the seconds that unpacking took.
    run: typing.Callable
    # What must be installed.
    programs: tuple = ()
    # The row that this one is another way of.
    variant_of: str = ""
    # Whether it makes sense only for more than one layer.
    needs_layers: bool = False

    def is_installed(self):
        return all(shutil.which(program) for program in self.programs)

    def is_for(self, corpus):
        return corpus.layers > 1 or not self.needs_layers


def chosen():
    """The tools that the environment asks for, ours first."""
    return [tool for tool in _all() if not TOOLS or tool.name.startswith(tuple(TOOLS))]


def _all():
    ours = [Tool(name, _ours(path, "--sync=none")) for name, path in builds()]
    name, path = builds()[0]
    return [
        *ours,
        Tool(f"{name}, {SYNCED}", _ours(path, "--sync=fs"), variant_of=name),
        *_pair("tar + igzip", "tar", "-I", "igzip"),
        *_pair("tar + pigz", "tar", "-I", "pigz"),
        *_pair("tar + gzip", "tar", "-I", "gzip"),
        *_pair("bsdtar", "bsdtar"),
        Tool(CTR, peers.containerd, ("ctr", "containerd")),
        Tool(f"{CTR}, {UNPACKING}", peers.containerd_unpacking, ("ctr", "containerd"), CTR),
        Tool("skopeo copy", peers.skopeo, ("skopeo",)),
        Tool("umoci unpack", peers.umoci, ("umoci",)),
    ]


def _ours(path, sync):
    def unpack(corpus, place):
        image = f"oci:{corpus.layout}:{layout.TAG}"
        command = [path, "--store", place / "store", "-q", "unpack", sync, image]
        return seconds(lambda: run(*command))

    return unpack


def _pair(name, *tar):
    """A tar that knows nothing of images: one layer after another, and two at once."""
    programs = tuple(word for word in tar if not word.startswith("-"))
    return [
        Tool(name, _layer_by_layer(tar, 1), programs),
        Tool(f"{name}, {PAIR}", _layer_by_layer(tar, 2), programs, name, needs_layers=True),
    ]


def _layer_by_layer(tar, at_once):
    """Each layer into a directory of its own, as it is; nothing is translated."""

    def unpack(corpus, place):
        jobs = []
        for index, blob in enumerate(corpus.blobs()):
            (place / str(index)).mkdir()
            jobs.append((*tar, "-xpf", blob, "-C", place / str(index), "--numeric-owner"))
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            return seconds(lambda: list(pool.map(lambda job: run(*job), jobs)))

    return unpack
