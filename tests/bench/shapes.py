"""Images made to be expensive: each is small, and attacks one part of the work.

`costs` builds and measures them. What a shape costs is compared with a flat image: as many layers,
and in each as many files as the shape's layer has entries and makes besides, with as many bytes of
archive.
"""

import dataclasses
import typing

from settings import SCALE

# Components of the deep paths. --max-depth allows 1000, and a path has 4095 bytes.
DEPTH = 900
_CHAIN = "d/" * DEPTH
_LINKS = 39  # The kernel follows 40.
_HEADER = (1 << 20) - 1024  # --max-header is 1 MiB.

# What each verb may cost at most, as a multiple of the flat image.
#
# On a tmpfs a file costs `unpack` 7 µs, `translate` and `ls` 2 µs; one step of a walk is a lookup in
# memory, 50 to 100 ns. So a shape that makes no more than a flat one does, in another order or in
# other places, stays within these.
_UNPACK, _TRANSLATE, _LS = 3, 4, 4
# Against `rm -rf` on the same tree: the same calls, and what the store has to look up first.
_REMOVAL = 3

Fill = typing.Callable[..., None]


@dataclasses.dataclass
class Shape:
    """One row of the table for each of its bounds."""

    name: str
    # The layers, lowest first: each writes its entries.
    layers: list[Fill]
    # Verb -> the multiple that it may cost.
    bounds: dict[str, float]
    # Why bounds that are not the usual ones are right.
    why: str = ""
    # Names that each layer makes without an entry: implied directories, copied-up files, deletions.
    makes: list[int] = dataclasses.field(default_factory=list)
    # The exit status that is right: 4 where a limit stops it.
    status: int = 0
    # A last entry of this name, of the flat image too: one that is refused.
    last: str = ""
    # Whether the flat image has one layer for all.
    is_flat_in_one: bool = False


def all_shapes():
    return [
        *_deep(),
        *_linked(),
        *_layered(),
        *_implied(),
        *_copied_up(),
        *_replaced(),
        *_wide(),
        *_described(),
        *_removed(),
    ]


def _usual(**other):
    return {"unpack": _UNPACK, "translate": _TRANSLATE, "ls": _LS, **other}


def count(whole):
    return max(1, int(whole * SCALE))


# Depth: names at the end of paths of 900 components, in one directory or each in its own.

_STEPS = (
    "a path of 900 components is 900 steps of 50 to 100 ns: ten files of `unpack`, forty of `ls`;"
    " and `ls` prints 900 bytes for a directory, on average"
)
_DEEP = {"unpack": 5, "translate": 8, "ls": 8}


def _deep():
    one_chain = [_CHAIN] * count(300)
    # As many implied directories as a layer of so few entries may have.
    own_chains = [f"{number}/{'d/' * (DEPTH - 1)}" for number in range(count(70))]

    def whiteouts(directories):
        def fill(layer):
            for number, directory in enumerate(directories):
                layer.delete(f"{directory}{number}")

        return fill

    def files(directories):
        def fill(layer):
            for number, directory in enumerate(directories):
                layer.file(f"{directory}{number}", b"")

        return fill

    def opaque(directories):
        def fill(layer):
            for number, directory in enumerate(directories):
                # Never the same one twice.
                layer.empty(directory if directory != _CHAIN else "d/" * (DEPTH - number))

        return fill

    shapes = []
    for what, fill in (("whiteouts", whiteouts), ("files", files), ("opaque directories", opaque)):
        made = [DEPTH], [len(own_chains) * DEPTH]
        shapes += [
            Shape(f"300 {what} 900 deep", [fill(one_chain)], _DEEP, _STEPS, made[0]),
            Shape(
                f"70 {what}, each in 900 directories of its own",
                [fill(own_chains)],
                {"unpack": 4, "translate": 6, "ls": 8},
                _STEPS,
                made[1],
            ),
        ]
    for what, fill in (("whiteouts", whiteouts), ("opaque directories", opaque)):
        layers = [files(one_chain), fill(one_chain)]
        name = f"300 {what} 900 deep, of what is below"
        shapes.append(Shape(name, layers, _DEEP, _STEPS, [DEPTH, DEPTH]))
    return shapes


# Symbolic links on the way to many entries.


def _linked():
    # 1,597 steps, in 4,000 bytes.
    winding = "a/../" * 798

    def links(way=""):
        def fill(layer):
            layer.directory("a")
            for number in range(_LINKS):
                layer.symlink(f"l{number}", f"{way}l{number + 1}")
            layer.directory(f"l{_LINKS}")

        return fill

    def long_link(layer):
        layer.directory("a")
        layer.directory("end")
        layer.symlink("l0", f"{winding}end")

    def through(many):
        def fill(layer):
            for number in range(count(many)):
                layer.file(f"l0/{number}", b"")

        return fill

    def both(first, second):
        def fill(layer):
            first(layer)
            second(layer)

        return fill

    steps = "39 links are 78 steps of 50 to 100 ns for each entry: a file of `unpack`, four of `ls`"
    return [
        Shape(
            "10,000 files through 39 links",
            [both(links(), through(10_000))],
            {"unpack": 3, "translate": 6, "ls": 6},
            steps,
        ),
        Shape(
            "10,000 files through 39 links below",
            [links(), through(10_000)],
            {"unpack": 5, "ls": 6},
            f"{steps}; the layer is unpacked twice, the second time knowing what is below",
        ),
        Shape(
            "600 files through a link of 4,000 bytes",
            [both(long_link, through(600))],
            {"unpack": 12, "translate": 12, "ls": 12},
            "1,600 steps of 50 to 100 ns for each entry, 0.1 s in all",
        ),
        Shape(
            "1,000 files through 39 links of 4,000 bytes",
            [both(links(winding), through(1_000))],
            {"unpack": 12, "translate": 12, "ls": 12},
            "62,000 steps for each entry: the limit on all steps stops it after a million of them",
            status=4 if SCALE == 1 else 0,
        ),
    ]


# Layers times depth, and the same directories in all layers.


def _layered():
    deep = 300

    def lists_chain(number):
        def fill(layer):
            for depth in range(1, deep + 1):
                layer.directory("d/" * depth)
            layer.file(f"{'d/' * deep}{number}", b"")

        return fill

    def at_the_end(number):
        def fill(layer):
            for index in range(count(100)):
                layer.file(f"{'d/' * deep}{number}-{index}", b"")

        return fill

    def same_directories(number):
        def fill(layer):
            for index in range(110):
                layer.directory(f"usr/share/{index}")
            layer.file(f"usr/share/0/{number}", b"")

        return fill

    def one_file(number):
        def fill(layer):
            layer.file(f"usr/share/{number}", b"")

        return fill

    depth = (
        "a directory 150 deep is 150 steps, and its layers below are looked at once: five to ten"
        " entries of `ls`"
    )
    chains = [
        Shape(
            f"{layers} layers that list the same 300 directories in each other",
            [lists_chain(number) for number in range(layers)],
            {"unpack": 4, "ls": 10},
            depth,
        )
        for layers in (10, 20, 40)
    ]
    many = count(400)
    return [
        *chains,
        Shape(
            "20 layers with 100 files each, 301 deep",
            [at_the_end(number) for number in range(20)],
            {"unpack": 5, "ls": 20},
            "each layer makes 300 directories that have no entry, with the attributes of those below",
            [300] * 20,
        ),
        Shape(
            "96 layers that list the same 110 directories",
            [same_directories(number) for number in range(96)],
            {"unpack": _UNPACK, "ls": _LS},
            makes=[2] * 96,
        ),
        Shape(
            "400 layers of one file",
            [one_file(number) for number in range(many)],
            {"unpack": 20, "ls": 20},
            "a layer has a lock, a record and a listing, about 1 ms: as long as 15 files; to read it takes "
            "buffers of its own, 0.3 ms",
            makes=[2] * many,
            is_flat_in_one=True,
        ),
    ]


# Directories that only the names of others imply: more than a layer of so few entries may.


def _implied():
    many = count(300)

    def files(layer):
        for number in range(many):
            layer.file(f"{number}/{'d/' * (DEPTH - 1)}f", b"")

    return [
        Shape(
            "300 files, each in 900 directories of its own",
            [files],
            {"unpack": 1, "translate": 1, "ls": 1},
            "to refuse it costs less than to make as many files as there would be directories",
            [many * DEPTH],
            status=4 if SCALE == 1 else 0,
        ),
    ]


# Hard links to files that only a lower layer has.


def _copied_up():
    many, names, layers = count(3_000), count(1_000), 10

    def files(layer):
        for number in range(many):
            layer.file(f"usr/lib/{number % 30}/{number}", b"contents")

    def links_to_files(layer):
        for number in range(many):
            layer.hardlink(f"usr/bin/{number}", f"usr/lib/{number % 30}/{number}")

    def one_file(layer):
        layer.file("usr/lib/0", b"contents")
        for number in range(1, names):
            layer.hardlink(f"usr/lib/{number}", "usr/lib/0")

    def one_more(number):
        def fill(layer):
            layer.hardlink(f"usr/bin/{number}", "usr/lib/0")

        return fill

    copies = "the layer is unpacked twice, and a copy takes four calls more than a file"
    return [
        Shape(
            "3,000 hard links to files below",
            [files, links_to_files],
            {"unpack": 5, "ls": _LS},
            copies,
            [32, many + 32],
        ),
        Shape(
            "10 layers with a hard link to a file of 1,000 names below",
            [one_file, *(one_more(number) for number in range(layers))],
            {"unpack": 4, "ls": 8},
            copies,
            [2, *(names + number + 3 for number in range(layers))],
        ),
    ]


# One thing in the place of another, again and again.


def _replaced():
    times = count(30)

    def in_turn(layer):
        for number in range(times):
            layer.file(f"{_CHAIN}{number}", b"")
            layer.file("d", b"")

    def same_name(layer):
        for number in range(count(20_000)):
            layer.file("f", b"%d" % number)

    def wide(layer):
        for number in range(count(20_000)):
            layer.file(f"d/{number}", b"")

    def wide_then_file(layer):
        wide(layer)
        layer.file("d", b"")

    def file_below(layer):
        layer.file("d", b"")

    removed = "what was made is removed again, which costs as much as making it"
    return [
        Shape(
            "a file in the place of 900 directories in each other, 30 times",
            [in_turn],
            {"unpack": 5, "ls": 10},
            removed,
            [times * DEPTH],
        ),
        Shape(
            "one file 20,000 times",
            [same_name],
            _usual(unpack=6),
            "each waits until the one before is on disk, which is two switches of threads",
        ),
        Shape(
            "a file in the place of 20,000 files of its layer",
            [wide_then_file],
            {"unpack": 4, "ls": _LS},
            removed,
            [1],
        ),
        Shape(
            "a file in the place of 20,000 files below",
            [wide, file_below],
            {"unpack": _UNPACK, "ls": _LS},
            makes=[1, 0],
        ),
    ]


# Directories of many names.


def _wide():
    many = count(20_000)

    def wide(layer):
        for number in range(many):
            layer.file(f"d/{number}", b"")

    def in_the_root(layer):
        for number in range(many):
            layer.file(f"{number}", b"")

    def no_more(layer):
        for number in range(many):
            layer.delete(f"d/{number}")

    def never(layer):
        for number in range(many):
            layer.delete(f"d/no-{number}")

    def links(layer):
        layer.file("d/0", b"contents")
        for number in range(1, many):
            layer.hardlink(f"d/{number}", "d/0")

    def opaque_root(layer):
        layer.empty("")
        layer.file("f", b"")

    return [
        Shape("20,000 hard links to one file", [links], _usual(), makes=[1]),
        Shape("20,000 whiteouts of files below", [wide, no_more], _usual(), makes=[1, 1]),
        Shape("20,000 whiteouts of what is not there", [wide, never], _usual(), makes=[1, 1]),
        Shape(
            "an opaque root over 20,000 names",
            [in_the_root, opaque_root],
            {"unpack": _UNPACK, "ls": _LS},
            makes=[0, many],
        ),
    ]


# Entries with much to say of themselves.


def _described():
    def xattrs(layer):
        records = {f"SCHILY.xattr.user.name-{number}": "a value" for number in range(30)}
        for number in range(count(1_000)):
            layer.described(f"{number}", records)

    def comment(layer):
        for number in range(count(60)):
            layer.described(f"{number}", {"comment": "c" * _HEADER})

    def many_records(layer):
        records = {f"V.{number}": "" for number in range(_HEADER // 12)}
        for number in range(count(30)):
            layer.described(f"{number}", records)

    def many_xattrs(layer):
        records = {f"SCHILY.xattr.user.{number}": "v" for number in range(_HEADER // 32)}
        layer.described("f", records)

    each = "a record takes 0.2 µs, however short: 87,000 of them as long as 8,000 files of `ls`"
    return [
        Shape(
            "1,000 files with 30 xattrs each",
            [xattrs],
            {"unpack": 12, "translate": 8, "ls": 8},
            "an xattr is set, and read again for the listing: two calls of 2 to 3 µs",
        ),
        Shape(
            "60 PAX headers of 1 MiB, one record each",
            [comment],
            _usual(translate=8),
            "a header is read into memory and copied, 1 ns a byte; `translate` skips what files hold",
        ),
        Shape(
            "30 PAX headers of 1 MiB, 87,000 records each",
            [many_records],
            {"unpack": 15, "translate": 60, "ls": 30},
            f"{each}; the flat image has 30 files",
        ),
        Shape(
            "one PAX header of 1 MiB, 32,000 xattrs",
            [many_xattrs],
            {"translate": 12, "ls": 12},
            each,
        ),
    ]


# What must be gone again.


def _removed():
    chains, many = count(20), count(20_000)

    def deep(layer):
        for number in range(chains):
            layer.file(f"{number}/{'d/' * (DEPTH - 1)}f", b"")

    def wide(layer):
        for number in range(many):
            layer.file(f"d/{number}", b"")

    return [
        Shape(
            "20 times 900 directories in each other, removed",
            [deep],
            {"rm": _REMOVAL, "prune": _REMOVAL},
            makes=[chains * DEPTH],
        ),
        Shape("20,000 files, removed", [wide], {"rm": _REMOVAL}, makes=[1]),
        Shape(
            "20 times 900 directories in each other, and then a refused entry",
            [deep],
            {"unpack": _UNPACK},
            makes=[chains * DEPTH],
            status=3,
            last="a/../b",
        ),
    ]
