"""What images that are made to be expensive cost: the table of `shapes`, beside flat images.

`python3 tests/bench costs` calls it, and `make bench-micro` does. Compared is the processor time,
user's and system's, of the program alone: the clock says little where other programs run. What is
unpacked goes to a tmpfs. SHAPES chooses the rows whose names hold one of these words, SCALE makes
the images smaller.
"""

import contextlib
import dataclasses
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import layout
import shapes
from layer import Layer
from settings import DIRECTORY, SHAPES, builds

_BLOCK = 512
_FILES_IN_DIRECTORY = 100
# What takes longer is stopped, and so over its bound.
_MOST_SECONDS = 60
# A process takes as much to start: a multiple of less says nothing.
_LEAST_SECONDS = 0.010
# A command runs so many times, unless that takes longer than so many seconds.
_RUNS, _ENOUGH = 3, 1.0


@dataclasses.dataclass
class Cost:
    """What a command took, in seconds of processor time, and how it ended."""

    seconds: float
    # The exit status, or minus the signal that ended it.
    status: int
    error: str

    def __str__(self):
        stopped = "> " if self.status == -signal.SIGXCPU else ""
        return f"{stopped}{self.seconds * 1e3:,.0f} ms"


@dataclasses.dataclass
class Image:
    """An image in a layout of its own, of plain layers."""

    layout: pathlib.Path

    @property
    def reference(self):
        return f"oci:{self.layout}:{layout.TAG}"

    @property
    def top(self):
        digest, _ = layout.read(self.layout)[-1]
        return layout.blob(self.layout, digest)


def measure():
    """Prints a line for each bound of each shape; the exit status is 1 if one is not kept."""
    print("| shape | verb | status | CPU | flat, or `rm -rf` | multiple | bound | |")
    print("|---|---|---|---|---|---|---|---|")
    missed = 0
    for shape in _chosen():
        with _memory() as place:
            image, flat = _write(shape, place)
            for verb, bound in shape.bounds.items():
                measured, reference = _VERBS[verb](image, flat)
                missed += not _show(shape, verb, bound, measured, reference)
    if missed:
        sys.exit(f"{missed} bounds are missed")


def _chosen():
    every = shapes.all_shapes()
    return [shape for shape in every if not SHAPES or any(word in shape.name for word in SHAPES)]


def _show(shape, verb, bound, measured, reference):
    """Prints one line; whether all is as it must be."""
    multiple = measured.seconds / max(reference.seconds, _LEAST_SECONDS)
    is_met = measured.status == shape.status and multiple <= bound
    cells = [shape.name, verb, measured.status, measured, reference, f"{multiple:.1f} ×"]
    cells += [f"≤ {bound}", "met" if is_met else "**missed**"]
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
    if measured.status != shape.status:
        print(f"{shape.name}: {verb}: {measured.error}", file=sys.stderr)
    expected = 3 if shape.last else 0
    if reference.status != expected:
        raise SystemExit(f"the flat image beside {shape.name}: {verb}: {reference}")
    return is_met


def _unpack(image, flat):
    return _least(lambda: _unpacked(image)), _least(lambda: _unpacked(flat))


def _unpacked(image):
    with _memory() as store:
        return _cost(_unpacking(image, store))


def _unpacking(image, store):
    return _program("--store", store / "store", "-q", "unpack", "--sync=none", image.reference)


def _translate(image, flat):
    commands = [_program("translate", image.top, "/dev/null") for image in (image, flat)]
    return [_least(lambda command=command: _cost(command)) for command in commands]


def _list(image, flat):
    commands = [_program("ls", image.reference) for image in (image, flat)]
    return [_least(lambda command=command: _cost(command)) for command in commands]


def _remove(image, _):
    digest = layout.manifest(image.layout)
    return _removals(image, lambda store: _program("--store", store, "rm", "--sync=none", digest))


def _prune(image, _):
    """Layers that no image needs any more."""

    def prune(store):
        shutil.rmtree(store / "images")
        (store / "images").mkdir(mode=0o700)
        return _program("--store", store, "prune", "--sync=none")

    return _removals(image, prune)


def _removals(image, command):
    """Ours, and `rm -rf` of the same layers."""

    def removal(command):
        with _memory() as place:
            made = _cost(_unpacking(image, place))
            if made.status != 0:
                raise SystemExit(made.error)
            return _cost(command(place / "store"))

    plain = lambda store: ["rm", "-rf", store / "layers"]
    return _least(lambda: removal(command)), _least(lambda: removal(plain))


_VERBS = {
    "unpack": _unpack,
    "translate": _translate,
    "ls": _list,
    "rm": _remove,
    "prune": _prune,
}


def _program(*arguments):
    _, program = builds()[0]
    return [program, *arguments]


def _least(run):
    costs = []
    while len(costs) < _RUNS and sum(cost.seconds for cost in costs) < _ENOUGH:
        costs.append(run())
    return min(costs, key=lambda cost: cost.seconds)


def _cost(command):
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            preexec_fn=_limit,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        error = errors.read().decode(errors="replace").strip()
    return Cost(usage.ru_utime + usage.ru_stime, process.returncode, error)


def _limit():
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def _memory():
    """A directory with a new tmpfs; both are gone afterwards, however deep the tree in it."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    place = pathlib.Path(tempfile.mkdtemp(prefix="memory-", dir=DIRECTORY))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


def _write(shape, place):
    """The image of a shape, and the flat one beside it."""
    written = []

    def filled(number, fill):
        def write(layer):
            fill(layer)
            if shape.last and number + 1 == len(shape.layers):
                layer.file(shape.last, b"")

        return write

    fills = [filled(number, fill) for number, fill in enumerate(shape.layers)]
    image = _write_image(place / "shape", fills, written)
    makes = shape.makes or [0] * len(written)
    sizes = [
        (layer.entries + made, layer.uncompressed) for layer, made in zip(written, makes, strict=True)
    ]
    if shape.is_flat_in_one:
        sizes = [tuple(map(sum, zip(*sizes)))]
    fills = [_flat(number, *size, shape.last) for number, size in enumerate(sizes)]
    return image, _write_image(place / "flat", fills, [])


def _flat(layer_number, entries, size, last):
    contents = b"f" * max(0, size // entries - _BLOCK)

    def fill(layer):
        for number in range(entries):
            directory = f"{layer_number}/{number // _FILES_IN_DIRECTORY}"
            layer.file(f"{directory}/{number}", contents)
        if last:
            layer.file(last, b"")

    return fill


def _write_image(place, fills, written):
    """Adds to `written` the layers as they were written."""
    (place / "blobs" / "sha256").mkdir(parents=True)
    digests = []
    for fill in fills:
        with Layer(place / "layer", compressed=False) as layer:
            fill(layer)
        digest = layer.diff_id()
        layer.path.rename(layout.blob(place, digest))
        written.append(layer)
        digests.append((digest, digest))
    layout.write(place, digests)
    return Image(place)
