"""The five corpora: what is in which layer of which image.

`python3 tests/bench build` calls it. A corpus is built once, in a directory that gets its name
last; it holds `layout/` (OCI, gzip), `image.tar` (the same as one file) and `corpus.json`.
"""

import dataclasses
import json
import os
import shutil

import layout
import trees
from layer import Layer
from settings import CORPORA, DIRECTORY, SCALE

MIB = 1 << 20


@dataclasses.dataclass
class Corpus:
    """A built corpus, as `corpus.json` describes it. Sizes are in bytes."""

    name: str
    layers: int
    entries: int
    deletions: int
    uncompressed: int
    compressed: int

    @property
    def directory(self):
        return DIRECTORY / self.name

    @property
    def layout(self):
        return self.directory / "layout"

    @property
    def archive(self):
        return self.directory / "image.tar"

    def blobs(self):
        """The layers' files, lowest first."""
        return [layout.blob(self.layout, digest) for digest, _ in layout.read(self.layout)]


def build(name):
    """The corpus of that name, built if it is not there."""
    final = DIRECTORY / name
    if not final.exists():
        partial = DIRECTORY / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "layout" / "blobs" / "sha256").mkdir(parents=True)
        _write(name, partial)
        partial.rename(final)
    return Corpus(**json.loads((final / "corpus.json").read_text()))


def chosen():
    """The names of the corpora that the environment asks for."""
    return [name for name in PLANS if not CORPORA or name in CORPORA]


def _write(name, directory):
    place, written, layers = directory / "layout", [], []
    for fill in PLANS[name]():
        with Layer(place / "layer") as layer:
            fill(layer)
        digest = layout.digest_of(layer.path)
        layer.path = layer.path.rename(layout.blob(place, digest))
        written.append(layer)
        layers.append((digest, layer.diff_id()))
    layout.write(place, layers)
    layout.pack(place, directory / "image.tar")
    corpus = Corpus(
        name,
        layers=len(written),
        entries=sum(layer.entries for layer in written),
        deletions=sum(layer.deletions for layer in written),
        uncompressed=sum(layer.uncompressed for layer in written),
        compressed=sum(os.path.getsize(layer.path) for layer in written),
    )
    (directory / "corpus.json").write_text(json.dumps(dataclasses.asdict(corpus), indent=1) + "\n")


def _walk(tree):
    """Every path of a tree, a directory before what is in it, names sorted."""
    for directory, directories, files in os.walk(tree):
        directories.sort()
        head = os.path.relpath(directory, tree)
        if head != ".":
            yield head
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        yield from (os.path.normpath(os.path.join(head, name)) for name in sorted(files + links))


def _adding(tree, names):
    def fill(layer):
        for name in names:
            layer.add(tree, name)

    return fill


def _whole(name):
    def plan():
        tree = trees.fetch(name)
        return [_adding(tree, _walk(tree))]

    return plan


def _up_to(tree, names, size):
    """The first of the names, until their files have so many bytes."""
    taken, total = [], 0
    for name in names:
        taken.append(name)
        total += os.lstat(os.path.join(tree, name)).st_size
        if total >= size * SCALE:
            break
    return taken


def _files(tree, names, *below):
    """Those of the names that are files under one of these directories."""
    places = tuple(f"{place}/" for place in below)
    return [
        name
        for name in names
        if name.startswith(places) and not os.path.isdir(os.path.join(tree, name))
    ]


def _deleting(names):
    def fill(layer):
        for name in names:
            layer.delete(name)

    return fill


def _replacing(tree, names, directories):
    """Empties directories and fills them anew, as an upgrade of packages does."""

    def fill(layer):
        for directory in directories:
            layer.add(tree, directory)
            layer.empty(directory)
            for name in names:
                if name.startswith(f"{directory}/"):
                    layer.add(tree, name)

    return fill


def _twelve():
    """A base, tools in three layers, an application in two, and what each then takes away again."""
    base, dev, node, wheels = (trees.fetch(name) for name in ("minbase", "dev", "node", "wheels"))
    in_base = list(_walk(base))
    known = set(in_base)
    tools = [name for name in _walk(dev) if name not in known]
    thirds = [tools[index * len(tools) // 3 : (index + 1) * len(tools) // 3] for index in range(3)]
    unscoped = (name for name in _walk(node) if "/@" not in name)
    modules = _up_to(node, unscoped, 150 * MIB)
    packages = _packages(node, modules)
    huge = _up_to(wheels, _walk(wheels), 200 * MIB)
    texts = ("usr/share/doc", "usr/share/man", "usr/share/locale")
    return [
        _adding(base, in_base),
        _deleting(_files(base, in_base, *texts)[:1500]),
        *(_adding(dev, third) for third in thirds),
        _deleting(_files(dev, tools, *texts)[:2000]),
        _adding(node, modules),
        _adding(wheels, huge),
        _replacing(node, modules, packages[::9]),
        _adding(dev, _up_to(dev, _files(dev, in_base, "usr/bin", "usr/lib", "etc"), 60 * MIB)),
        _deleting(_files(node, modules, *packages[1::9])[:1400]),
        _adding(base, _files(base, in_base, "etc")),
    ]


def _packages(node, names):
    """The directories of packages that are not within another's."""
    return [
        name for name in names if name.count("/") == 2 and os.path.isdir(os.path.join(node, name))
    ]


PLANS = {
    "minbase": _whole("minbase"),
    "dev": _whole("dev"),
    "node": _whole("node"),
    "wheels": _whole("wheels"),
    "twelve": _twelve,
}
